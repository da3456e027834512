/* SPDX-License-Identifier: Apache-2.0 */
/* The table of virtio-vsock's connections, their callbacks and deadlines; see vsock-mux.h. */
#include "vsock-mux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cleanup.h"

#define SOCKET_EVENTS ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET))
#define BUFFERS_BYTES ((size_t)VSOCK_CONNECTIONS * VSOCK_BUFFER_BYTES)

/* -- callbacks of the loop ------------------------------------------------------------------- */

bool vsock_mux_enter(struct vsock *s)
{
	virtio_lock(&s->v);
	if (!virtio_alive(&s->v))
		vsock_mux_drop(s); /* the driver gave up, failed, or is being reset */
	return virtio_running(&s->v);
}

void vsock_mux_leave(struct vsock *s)
{
	vsock_pump(s);
	virtio_unlock(&s->v);
}

static void on_conn(struct loop_src *src, uint32_t events)
{
	struct vsock_conn *c = container_of(src, struct vsock_conn, src);
	struct vsock *s = c->s;

	if (vsock_mux_enter(s))
		vsock_conn_event(c, events);
	vsock_mux_leave(s);
}

/* -- deadlines ------------------------------------------------------------------------------- */

void vsock_mux_arm(struct vsock *s, uint64_t at_ns)
{
	uint64_t now = loop_now_ns();

	if (s->armed_ns && s->armed_ns <= at_ns)
		return;
	s->armed_ns = at_ns;
	loop_timer_set(s->timerfd, at_ns > now ? at_ns - now : 1, 0);
}

void vsock_mux_deadline(struct vsock_conn *c, uint64_t delay_ns)
{
	c->deadline_ns = 0;
	if (!delay_ns)
		return;
	c->deadline_ns = loop_now_ns() + delay_ns;
	c->deadline_ns += VSOCK_TICK_NS - c->deadline_ns % VSOCK_TICK_NS;
	vsock_mux_arm(c->s, c->deadline_ns);
}

static void expire(struct vsock *s, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	vsock_passed(s);
	if (s->accept_ns && s->accept_ns <= now) {
		s->accept_ns = 0;
		vsock_host_listen(s);
	}
	for (unsigned i = 0; i < s->n_fresh; i++) {
		struct vsock_conn *c = &s->conns[i];

		if (c->deadline_ns && c->deadline_ns <= now) {
			c->deadline_ns = 0;
			vsock_conn_expire(c);
		}
	}
	/* What was set meanwhile is among these. */
	for (unsigned i = 0; i < s->n_fresh; i++)
		if (s->conns[i].deadline_ns)
			next = MIN(next, s->conns[i].deadline_ns);
	if (s->accept_ns)
		next = MIN(next, s->accept_ns);
	if (next != UINT64_MAX)
		vsock_mux_arm(s, next);
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct vsock *s = container_of(src, struct vsock, timer);

	(void)events;
	loop_drain(s->timerfd);
	s->armed_ns = 0;
	if (vsock_mux_enter(s))
		expire(s, loop_now_ns());
	vsock_mux_leave(s);
}

/* Edge-triggered, an error of a socket, which is always told, is told once. */
void vsock_mux_pause(struct vsock *s)
{
	s->paused_ns = loop_now_ns();
	loop_del(s->loop, &s->listener);
	for (unsigned i = 0; i < s->n_fresh; i++)
		if (s->conns[i].src.fd >= 0)
			loop_mod(s->loop, &s->conns[i].src, EPOLLET);
	loop_timer_set(s->timerfd, 0, 0);
	s->armed_ns = 0;
}

static void postpone(uint64_t *at_ns, uint64_t by_ns)
{
	if (*at_ns)
		*at_ns += by_ns;
}

/*
 * Sockets tell again what they have; the listener comes back with a kick, or when its pause ends.
 */
void vsock_mux_resume(struct vsock *s)
{
	uint64_t now = loop_now_ns(), by_ns = now - s->paused_ns;

	postpone(&s->accept_ns, by_ns);
	for (unsigned i = 0; i < s->n_fresh; i++) {
		struct vsock_conn *c = &s->conns[i];

		postpone(&c->deadline_ns, by_ns);
		postpone(&c->give_up_ns, by_ns);
		if (c->src.fd >= 0)
			loop_mod(s->loop, &c->src, SOCKET_EVENTS);
	}
	expire(s, now);
}

/* -- slots ----------------------------------------------------------------------------------- */

struct vsock_conn *vsock_mux_add(struct vsock *s)
{
	struct vsock_conn *c = TAILQ_FIRST(&s->free);

	if (c)
		TAILQ_REMOVE(&s->free, c, link);
	else if (s->n_fresh < VSOCK_CONNECTIONS)
		c = &s->conns[s->n_fresh++];
	else
		return NULL;
	*c = (struct vsock_conn){
		.src = { .fn = on_conn, .name = "vsock connection", .fd = -1 },
		.s = s,
		.fd = -1,
		.state = VSOCK_GREETING,
		.buffer = s->buffers + (size_t)(c - s->conns) * VSOCK_BUFFER_BYTES,
	};
	virtio_begin(&s->v);
	return c;
}

int vsock_mux_watch(struct vsock_conn *c)
{
	return loop_add(c->s->loop, &c->src, c->fd, SOCKET_EVENTS);
}

void vsock_mux_close(struct vsock_conn *c)
{
	loop_del(c->s->loop, &c->src);
	c->fd = fd_close(c->fd);
	if (c->s->accept_ns) { /* a descriptor is free again */
		c->s->accept_ns = loop_now_ns();
		vsock_mux_arm(c->s, c->s->accept_ns);
	}
}

void vsock_mux_free(struct vsock_conn *c)
{
	struct vsock *s = c->s;

	vsock_mux_close(c);
	vsock_mux_remove(c);
	vsock_mux_enqueue(c, NULL);
	/* #syscalls loop: madvise=MADV_DONTNEED */
	if (c->buffer_used)
		madvise(c->buffer, VSOCK_BUFFER_BYTES, MADV_DONTNEED);
	if (c->counted)
		virtio_count(&s->counters.connections_ended);
	c->state = VSOCK_FREE;
	c->deadline_ns = 0;
	TAILQ_INSERT_HEAD(&s->free, c, link);
	virtio_end(&s->v);
}

void vsock_mux_drop(struct vsock *s)
{
	loop_del(s->loop, &s->listener);
	s->accept_ns = 0;
	for (unsigned i = 0; i < s->n_fresh; i++)
		if (s->conns[i].state != VSOCK_FREE)
			vsock_mux_free(&s->conns[i]);
}

/* -- lists ----------------------------------------------------------------------------------- */

/*
 * A guest that chose its ports so that they meet in one bucket would have lists of at most
 * VSOCK_CONNECTIONS to walk, and only itself to blame.
 */
static unsigned bucket_of(uint32_t host_port, uint32_t guest_port)
{
	uint32_t h = host_port * 0x9e3779b1u ^ guest_port * 0x85ebca6bu;

	return (h ^ h >> 16) % VSOCK_BUCKETS;
}

struct vsock_conn *vsock_mux_find(const struct vsock *s, uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *c;

	LIST_FOREACH (c, &s->buckets[bucket_of(host_port, guest_port)], same)
		if (c->host_port == host_port && c->guest_port == guest_port)
			return c;
	return NULL;
}

void vsock_mux_insert(struct vsock_conn *c)
{
	LIST_INSERT_HEAD(&c->s->buckets[bucket_of(c->host_port, c->guest_port)], c, same);
	c->hashed = c->counted = true;
	virtio_count(&c->s->counters.connections_added);
}

void vsock_mux_remove(struct vsock_conn *c)
{
	if (c->hashed)
		LIST_REMOVE(c, same);
	c->hashed = false;
}

void vsock_mux_enqueue(struct vsock_conn *c, struct vsock_queue *queue)
{
	if (c->queue == queue)
		return; /* keeps its place */
	if (c->queue)
		TAILQ_REMOVE(c->queue, c, link);
	if (queue)
		TAILQ_INSERT_TAIL(queue, c, link);
	c->queue = queue;
}

/* -- life ------------------------------------------------------------------------------------ */

int vsock_mux_init(struct vsock *s, struct volt_err *err)
{
	void *p;
	int r;

	TAILQ_INIT(&s->free);
	TAILQ_INIT(&s->urgent);
	TAILQ_INIT(&s->bulk);
	s->next_port = VSOCK_HOST_PORT;
	s->listenfd = s->timerfd = -1;
	s->listener = (struct loop_src){ vsock_host_accept, "vsock listener", -1 };
	s->timer = (struct loop_src){ on_timer, "vsock timer", -1 };
	s->conns = calloc(VSOCK_CONNECTIONS, sizeof(s->conns[0]));
	p = mmap(NULL, BUFFERS_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	s->buffers = p == MAP_FAILED ? NULL : p;
	if (!s->conns || !s->buffers)
		return volt_err_set(err, ENOMEM, "vsock: reserve buffers: %m");
	/* Else one connection could make 32 buffers real. A kernel without such pages refuses. */
	madvise(s->buffers, BUFFERS_BYTES, MADV_NOHUGEPAGE);
	s->timerfd = loop_timer_open(err);
	if (s->timerfd < 0)
		return volt_err_wrap(err, "vsock");
	r = loop_add(s->loop, &s->timer, s->timerfd, EPOLLIN);
	return r < 0 ? volt_err_set(err, -r, "vsock: watch the timer: %m") : 0;
}

void vsock_mux_done(struct vsock *s)
{
	vsock_mux_drop(s);
	loop_del(s->loop, &s->timer);
	fd_close(s->timerfd);
	fd_close(s->listenfd);
	free(s->conns);
	if (s->buffers)
		munmap(s->buffers, BUFFERS_BYTES);
}

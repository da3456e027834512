/* SPDX-License-Identifier: Apache-2.0 */
/* XEN_ELFNOTE_PHYS32_ENTRY: a payload linked with this can be started by PVH. */
	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 8, 18
	.asciz	"Xen"
	.quad	pvh32
	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The faults of serde_read() are serde_json's, to the column: each row was taken from serde_json
 * 1.0.151 with a struct of the same fields. In the tables ' stands for ".
 */
#include <stdlib.h>
#include <string.h>

#include "test.h"

#include "serde-every.h"

#define ONE_OF_EVERY                                                                               \
	", expected one of `text`, `flag`, `b`, `w`, `d`, `q`, `n`, `path`, `ip`, `mac`, `two`, "  \
	"`three`, `one`, `pair`, `loose`, `words`, `macs`, `pairs`, `map`, `any`, `smt`"

static const struct serde_field single_fields[] = { { "id", { SERDE_STRING }, .required = true } };
static const struct serde_object single = { "Single", true, single_fields, 1 };
static const struct serde_object none = { "Empty", true, NULL, 0 };

struct fault {
	const struct serde_object *object; /* NULL: serde_read_any() */
	const char *text, *fault;
};

static const struct fault ends[] = {
	{ &serde_every, "", "EOF while parsing a value at line 1 column 0" },
	{ &serde_every, " \n ", "EOF while parsing a value at line 2 column 1" },
	{ &serde_every, "{", "EOF while parsing an object at line 1 column 1" },
	{ &serde_every, "{\n", "EOF while parsing an object at line 2 column 0" },
	{ &serde_every, "{'text'", "EOF while parsing an object at line 1 column 7" },
	{ &serde_every, "{'text':", "EOF while parsing a value at line 1 column 8" },
	{ &serde_every, "{'text':'x'", "EOF while parsing an object at line 1 column 11" },
	{ &serde_every, "{'text':'x',", "EOF while parsing a value at line 1 column 12" },
	{ &serde_every, "{'text':'x", "EOF while parsing a string at line 1 column 10" },
	{ &serde_every, "{'te", "EOF while parsing a string at line 1 column 4" },
	{ &serde_every, "{'words':[", "EOF while parsing a list at line 1 column 10" },
	{ &serde_every, "{'words':['a'", "EOF while parsing a list at line 1 column 13" },
	{ &serde_every, "{'words':['a',", "EOF while parsing a value at line 1 column 14" },
	{ &serde_every, "{'flag':tr", "EOF while parsing a value at line 1 column 10" },
	{ &serde_every, "{'b':-", "EOF while parsing a value at line 1 column 6" },
	{ &serde_every, "{'b':1.", "EOF while parsing a value at line 1 column 7" },
	{ &serde_every, "{'b':1e", "EOF while parsing a value at line 1 column 7" },
	{ &serde_every, "{'text':'\\", "EOF while parsing a string at line 1 column 10" },
	{ &serde_every, "{'text':'\\u00", "EOF while parsing a string at line 1 column 13" },
	{ &serde_every, "{'two':", "EOF while parsing a value at line 1 column 7" },
	{ &serde_every, "{'two':{", "EOF while parsing an object at line 1 column 8" },
	{ &serde_every, "{'two':{'A':null", "EOF while parsing an object at line 1 column 16" },
	{ &serde_every, "{'map':{'a'", "EOF while parsing an object at line 1 column 11" },
	{ &serde_every, "{'any':", "EOF while parsing a value at line 1 column 7" },
};

static const struct fault marks[] = {
	{ &serde_every, "{'text' 'x'}", "expected `:` at line 1 column 9" },
	{ &serde_every, "{'text':'x' 'flag':true}", "expected `,` or `}` at line 1 column 13" },
	{ &serde_every, "{'text':'x',}", "trailing comma at line 1 column 13" },
	{ &serde_every, "{'text':'x',,}", "key must be a string at line 1 column 13" },
	{ &serde_every, "{,}", "key must be a string at line 1 column 2" },
	{ &serde_every, "{text:1}", "key must be a string at line 1 column 2" },
	{ &serde_every, "{'text':'x','flag':true}}", "trailing characters at line 1 column 25" },
	{ &serde_every, "{'text':'x','flag':true} x", "trailing characters at line 1 column 26" },
	{ &serde_every, "{'words':['a' 'b']}", "expected `,` or `]` at line 1 column 15" },
	{ &serde_every, "{'words':['a',]}", "trailing comma at line 1 column 15" },
	{ &serde_every, "{'words':[,]}", "expected value at line 1 column 11" },
	{ &serde_every, "{'words':['a'}", "expected `,` or `]` at line 1 column 14" },
	{ &serde_every, "{'text':}", "expected value at line 1 column 9" },
	{ &serde_every, "{'text':x}", "expected value at line 1 column 9" },
	{ &serde_every, "{'flag':nil}", "expected ident at line 1 column 10" },
	{ &serde_every, "{'flag':truE}", "expected ident at line 1 column 12" },
	{ &serde_every, "{'flag':True}", "expected value at line 1 column 9" },
	{ &serde_every, "x", "expected value at line 1 column 1" },
	{ &serde_every, "\357\273\277{}", "expected value at line 1 column 1" },
	{ &serde_every, "{'text':\n  'x',\n  'flag' = true}", "expected `:` at line 3 column 10" },
};

static const struct fault types[] = {
	{ &serde_every, "{'b':'x'}", "invalid type: string 'x', expected u8 at line 1 column 8" },
	{ &serde_every, "{'b':true}",
		"invalid type: boolean `true`, expected u8 at line 1 column 9" },
	{ &serde_every, "{'b':1.5}",
		"invalid type: floating point `1.5`, expected u8 at line 1 column 8" },
	{ &serde_every, "{'b':-0}",
		"invalid type: floating point `-0.0`, expected u8 at line 1 column 7" },
	{ &serde_every, "{'b':1e2}",
		"invalid type: floating point `100.0`, expected u8 at line 1 column 8" },
	{ &serde_every, "{'b':[]}", "invalid type: sequence, expected u8 at line 1 column 5" },
	{ &serde_every, "{'b': {}}", "invalid type: map, expected u8 at line 1 column 6" },
	{ &serde_every, "{'flag':null}",
		"invalid type: null, expected a boolean at line 1 column 12" },
	{ &serde_every, "{'flag':0}",
		"invalid type: integer `0`, expected a boolean at line 1 column 9" },
	{ &serde_every, "{'flag':'true'}",
		"invalid type: string 'true', expected a boolean at line 1 column 14" },
	{ &serde_every, "{'text':1}",
		"invalid type: integer `1`, expected a string at line 1 column 9" },
	{ &serde_every, "{'text':null}",
		"invalid type: null, expected a string at line 1 column 12" },
	{ &serde_every, "{'text':-12.50}",
		"invalid type: floating point `-12.5`, expected a string at line 1 column 14" },
	{ &serde_every, "{'text':[1]}",
		"invalid type: sequence, expected a string at line 1 column 8" },
	{ &serde_every, "{'path':7}",
		"invalid type: integer `7`, expected path string at line 1 column 9" },
	{ &serde_every, "{'ip':7}",
		"invalid type: integer `7`, expected IPv4 address at line 1 column 7" },
	{ &serde_every, "{'pair':1}",
		"invalid type: integer `1`, expected struct Pair at line 1 column 9" },
	{ &serde_every, "{'pair':'x'}",
		"invalid type: string 'x', expected struct Pair at line 1 column 11" },
	{ &serde_every, "{'words':'x'}",
		"invalid type: string 'x', expected a sequence at line 1 column 12" },
	{ &serde_every, "{'words':{}}",
		"invalid type: map, expected a sequence at line 1 column 9" },
	{ &serde_every, "{'words':[1]}",
		"invalid type: integer `1`, expected a string at line 1 column 11" },
	{ &serde_every, "{'words':[null]}",
		"invalid type: null, expected a string at line 1 column 14" },
	{ &serde_every, "{'map':[]}", "invalid type: sequence, expected a map at line 1 column 7" },
	{ &serde_every, "{'map':{'a':1}}",
		"invalid type: integer `1`, expected a string at line 1 column 13" },
	{ &serde_every, "{'smt':null}",
		"invalid type: null, expected a boolean at line 1 column 11" },
	{ &serde_every, "7",
		"invalid type: integer `7`, expected struct Every at line 1 column 1" },
	{ &serde_every, "'x'",
		"invalid type: string 'x', expected struct Every at line 1 column 3" },
	{ &serde_every, "null", "invalid type: null, expected struct Every at line 1 column 4" },
	{ &serde_every, "{'b':'a\\'\\n\\u0007'}",
		"invalid type: string 'a\\'\\n\\u{7}', expected u8 at line 1 column 18" },
};

static const struct fault values[] = {
	{ &serde_every, "{'b':256}",
		"invalid value: integer `256`, expected u8 at line 1 column 8" },
	{ &serde_every, "{'b':-1}", "invalid value: integer `-1`, expected u8 at line 1 column 7" },
	{ &serde_every, "{'w':65536}",
		"invalid value: integer `65536`, expected u16 at line 1 column 10" },
	{ &serde_every, "{'d':4294967296}",
		"invalid value: integer `4294967296`, expected u32 at line 1 column 15" },
	{ &serde_every, "{'q':-9223372036854775808}",
		"invalid value: integer `-9223372036854775808`, expected u64 at line 1 column 25" },
	{ &serde_every, "{'q':18446744073709551616}",
		"invalid type: floating point `1.8446744073709552e+19`"
		", expected u64 at line 1 column 25" },
	{ &serde_every, "{'n':-5 }",
		"invalid value: integer `-5`, expected usize at line 1 column 7" },
	{ &serde_every, "{'ip':'1.2.3'}", "invalid IPv4 address syntax at line 1 column 13" },
	{ &serde_every, "{'ip':'01.2.3.4'}", "invalid IPv4 address syntax at line 1 column 16" },
	{ &serde_every, "{'mac':'x'}", "The provided MAC address is invalid. at line 1 column 11" },
	{ &serde_every, "{'mac':'x' }",
		"The provided MAC address is invalid. at line 1 column 12" },
	{ &serde_every, "{'mac':'x' , 'b':1}",
		"The provided MAC address is invalid. at line 1 column 11" },
	{ &serde_every, "{'macs':['0','x' ]}",
		"The provided MAC address is invalid. at line 1 column 18" },
	{ &serde_every, "{'macs':['x', '0']}",
		"The provided MAC address is invalid. at line 1 column 14" },
};

static const struct fault names[] = {
	{ &serde_every, "{'two':'C'}",
		"unknown variant `C`, expected `A` or `B` at line 1 column 10" },
	{ &serde_every, "{'three':'2m'}",
		"unknown variant `2m`"
		", expected one of `Unsafe`, `Writeback`, `2M` at line 1 column 13" },
	{ &serde_every, "{'one':''}", "unknown variant ``, expected `Only` at line 1 column 9" },
	{ &serde_every, "{'two':1}", "expected value at line 1 column 8" },
	{ &serde_every, "{'two':true}", "expected value at line 1 column 8" },
	{ &serde_every, "{'two':['A']}", "expected value at line 1 column 8" },
	{ &serde_every, "{'two':{'C':null}}",
		"unknown variant `C`, expected `A` or `B` at line 1 column 11" },
	{ &serde_every, "{'two':{'A':1}}",
		"invalid type: integer `1`, expected unit at line 1 column 13" },
	{ &serde_every, "{'two':{}}", "expected value at line 1 column 9" },
	{ &serde_every, "{'two':{A}}", "key must be a string at line 1 column 9" },
	{ &serde_every, "{'two':{'A':null,'B':null}}", "expected value at line 1 column 16" },
};

static const struct fault fields[] = {
	{ &serde_every, "{}", "missing field `text` at line 1 column 2" },
	{ &serde_every, "{'text':'x'}", "missing field `flag` at line 1 column 12" },
	{ &serde_every, "{'text':'x',\n 'b':1 }  ", "missing field `flag` at line 2 column 8" },
	{ &serde_every, "{'text':'x','nope':1}",
		"unknown field `nope`" ONE_OF_EVERY " at line 1 column 18" },
	{ &serde_every, "{'text':'x','nope'  :1}",
		"unknown field `nope`" ONE_OF_EVERY " at line 1 column 20" },
	{ &serde_every, "{'nope'}", "unknown field `nope`" ONE_OF_EVERY " at line 1 column 8" },
	{ &serde_every, "{'nope'\n", "unknown field `nope`" ONE_OF_EVERY " at line 2 column 0" },
	{ &serde_every, "{'text':'x','text':'y'}", "duplicate field `text` at line 1 column 18" },
	{ &serde_every, "{'b':null,'b' : 1}", "duplicate field `b` at line 1 column 14" },
	{ &serde_every_pair, "{'x':1}",
		"unknown field `x`, expected `bandwidth` or `ops` at line 1 column 4" },
	{ &serde_every_pair, "{'ops':{'size':1}}",
		"missing field `refill_time` at line 1 column 17" },
	{ &serde_every_pair, "{'ops':{'size':1,'size':2}}",
		"duplicate field `size` at line 1 column 23" },
	{ &single, "{'x':1}", "unknown field `x`, expected `id` at line 1 column 4" },
	{ &none, "{'x':1}", "unknown field `x`, there are no fields at line 1 column 4" },
	{ &serde_every, "{'pairs':[{},{'x':1}]}",
		"unknown field `x`, expected `bandwidth` or `ops` at line 1 column 17" },
};

static const struct fault sequences[] = {
	{ &serde_every, "[]",
		"invalid length 0, expected struct Every with 21 elements at line 1 column 2" },
	{ &single, "[]",
		"invalid length 0, expected struct Single with 1 element at line 1 column 2" },
	{ &single, "['x','y']", "trailing characters at line 1 column 6" },
	{ &single, "['x',]", "trailing comma at line 1 column 6" },
	{ &serde_every_pair, "[null]",
		"invalid length 1, expected struct Pair with 2 elements at line 1 column 6" },
	{ &serde_every_bucket, "[1,2]",
		"invalid length 2, expected struct Loose with 3 elements at line 1 column 5" },
	{ &serde_every_bucket, "[1,'x',3]",
		"invalid type: string 'x', expected u64 at line 1 column 6" },
};

static const struct fault numbers[] = {
	{ NULL, "01", "invalid number at line 1 column 2" },
	{ NULL, "-", "EOF while parsing a value at line 1 column 1" },
	{ NULL, "-x", "invalid number at line 1 column 2" },
	{ NULL, "1.", "EOF while parsing a value at line 1 column 2" },
	{ NULL, "1.x", "invalid number at line 1 column 3" },
	{ NULL, ".5", "expected value at line 1 column 1" },
	{ NULL, "+1", "expected value at line 1 column 1" },
	{ NULL, "1e", "EOF while parsing a value at line 1 column 2" },
	{ NULL, "1e+x", "invalid number at line 1 column 4" },
	{ NULL, "1e400", "number out of range at line 1 column 5" },
	{ NULL, "-1e99999999999", "number out of range at line 1 column 13" },
	{ NULL, "1 2", "trailing characters at line 1 column 3" },
	{ NULL, "0x10", "trailing characters at line 1 column 2" },
	{ NULL, "NaN", "expected value at line 1 column 1" },
};

static const struct fault strings[] = {
	{ NULL, "'\\x'", "invalid escape at line 1 column 3" },
	{ NULL, "'\\u12g4'", "invalid escape at line 1 column 7" },
	{ NULL, "'\\ud800'", "unexpected end of hex escape at line 1 column 8" },
	{ NULL, "'\\ud800\\n'", "unexpected end of hex escape at line 1 column 9" },
	{ NULL, "'\\ud800\\u0041'", "lone leading surrogate in hex escape at line 1 column 13" },
	{ NULL, "'\\udc00'", "lone leading surrogate in hex escape at line 1 column 7" },
	{ NULL, "'a\tb'",
		"control character (\\u0000-\\u001F) found"
		" while parsing a string at line 1 column 3" },
	{ NULL, "'a\nb'",
		"control character (\\u0000-\\u001F) found"
		" while parsing a string at line 2 column 0" },
	{ NULL, "'\377'", "invalid unicode code point at line 1 column 3" },
	{ NULL, "'\355\240\200' ", "invalid unicode code point at line 1 column 5" },
	{ NULL, "'\300\200'", "invalid unicode code point at line 1 column 4" },
};

static const struct fault skipped[] = {
	{ &serde_every_bucket, "{'x':[1,2,]}", "expected value at line 1 column 11" },
	{ &serde_every_bucket, "{'x':{'a':1,}}", "key must be a string at line 1 column 13" },
	{ &serde_every_bucket, "{'x':{'a' 1}}", "expected `:` at line 1 column 11" },
	{ &serde_every_bucket, "{'x':[1 2]}", "expected `,` or `]` at line 1 column 9" },
	{ &serde_every_bucket, "{'x':{'a':1 'b':2}}", "expected `,` or `}` at line 1 column 13" },
	{ &serde_every_bucket, "{'x':{1:2}}", "key must be a string at line 1 column 7" },
	{ &serde_every_bucket, "{'x':[}", "expected value at line 1 column 7" },
	{ &serde_every_bucket, "{'x':'a\tb'}",
		"control character (\\u0000-\\u001F) found"
		" while parsing a string at line 1 column 7" },
	{ &serde_every_bucket, "{'x':'\\q'}", "invalid escape at line 1 column 8" },
	{ &serde_every_bucket, "{'x':1.}", "invalid number at line 1 column 8" },
	{ &serde_every_bucket, "{'x':1e", "invalid number at line 1 column 7" },
	{ &serde_every_bucket, "{'x':-", "invalid number at line 1 column 6" },
	{ &serde_every_bucket, "{'x':nul }", "expected ident at line 1 column 9" },
	{ &serde_every_bucket, "{'x':[", "EOF while parsing a list at line 1 column 6" },
	{ &serde_every_bucket, "{'x':{'a':1", "EOF while parsing an object at line 1 column 11" },
	{ &serde_every_bucket, "{'x':{", "EOF while parsing an object at line 1 column 6" },
	{ &serde_every_bucket, "{'x':", "EOF while parsing a value at line 1 column 5" },
	{ &serde_every_bucket, "{'x':02}", "invalid number at line 1 column 7" },
};

static const struct topic {
	const char *name;
	const struct fault *faults;
	size_t n;
} topics[] = {
	{ "ends of the text", ends, ARRAY_SIZE(ends) },
	{ "marks", marks, ARRAY_SIZE(marks) },
	{ "types", types, ARRAY_SIZE(types) },
	{ "values", values, ARRAY_SIZE(values) },
	{ "names", names, ARRAY_SIZE(names) },
	{ "fields", fields, ARRAY_SIZE(fields) },
	{ "sequences", sequences, ARRAY_SIZE(sequences) },
	{ "numbers", numbers, ARRAY_SIZE(numbers) },
	{ "strings", strings, ARRAY_SIZE(strings) },
	{ "skipped values", skipped, ARRAY_SIZE(skipped) },
};

/* A copy with ' turned into ", and no byte after it. */
static char *quotes(const char *text)
{
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	for (size_t i = 0; i < n; i++)
		copy[i] = text[i] == '\'' ? '"' : text[i];
	return copy;
}

static json_t *read_quoted(const struct serde_object *o, const char *text,
	struct serde_fault *fault)
{
	char *copy = quotes(text);
	json_t *v = o ? serde_read(o, copy, strlen(text), fault)
		      : serde_read_any(copy, strlen(text), fault);

	free(copy);
	return v;
}

static void check_fault(const struct serde_object *o, const char *text, const char *want)
{
	char *expected = quotes(want);
	struct serde_fault fault;

	assert_null(read_quoted(o, text, &fault));
	if (strlen(fault.text) != strlen(want) || memcmp(fault.text, expected, strlen(want)) != 0)
		fail_msg("%s\n  gave %s\n  not  %s", text, fault.text, want);
	free(expected);
}

static void test_topic(void **state)
{
	const struct topic *t = *state;

	for (size_t i = 0; i < t->n; i++)
		check_fault(t->faults[i].object, t->faults[i].text, t->faults[i].fault);
}

/* What is read, dumped with sorted keys. */
static void check_read(const struct serde_object *o, const char *text, const char *want)
{
	char *expected = quotes(want), *dump;
	struct serde_fault fault;
	json_t *v = read_quoted(o, text, &fault);

	if (!v)
		fail_msg("%s\n  gave %s", text, fault.text);
	dump = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	assert_non_null(dump);
	if (strlen(dump) != strlen(want) || memcmp(dump, expected, strlen(want)) != 0)
		fail_msg("%s\n  gave %s\n  not  %s", text, dump, want);
	free(dump);
	free(expected);
	json_decref(v);
}

static void test_read(void **state)
{
	static const struct fault reads[] = { /* with the value for the fault */
		{ &serde_every, " { 'text' : 'x' ,\r\n\t'flag' : true } \n",
			"{'flag':true,'text':'x'}" },
		{ &serde_every, "{'flag':false,'text':'','b':255,'w':65535,'d':4294967295,"
				"'q':9223372036854775807,'n':0}",
			"{'b':255,'d':4294967295,'flag':false,'n':0,'q':9223372036854775807,"
			"'text':'','w':65535}" },
		{ &serde_every, "{'flag':true,'text':'x','path':'/a','ip':'169.254.169.254',"
				"'mac':'06:00:00:00:00:01','two':'B','three':'2M','one':'Only'}",
			"{'flag':true,'ip':'169.254.169.254','mac':'06:00:00:00:00:01',"
			"'one':'Only','path':'/a','text':'x','three':'2M','two':'B'}" },
		{ &serde_every, "{'flag':true,'text':'x','b':null,'two':null,'words':null,"
				"'map':null,'any':null,'pair':null,'volt':null}",
			"{'flag':true,'text':'x'}" },
		{ &serde_every, "{'flag':true,'text':'x','volt':true,'smt':false}",
			"{'flag':true,'smt':false,'text':'x','volt':true}" },
		{ &serde_every, "{'flag':true,'text':'x','two':{'A':null},'words':[],"
				"'macs':['0'],'pairs':[{},{'ops':null}]}",
			"{'flag':true,'macs':['0'],'pairs':[{},{}],'text':'x','two':'A',"
			"'words':[]}" },
		{ &serde_every, "{'flag':true,'text':'x','map':{'a':'1','b':'','a':'2'},"
				"'any':[{'k':null}]}",
			"{'any':[{'k':null}],'flag':true,'map':{'a':'2','b':''},'text':'x'}" },
		{ &serde_every, "{'te\\u0078t':'\\u00e4\\ud83d\\ude00\\/\\b','flag':true}",
			"{'flag':true,'text':'\303\244\360\237\230\200/\\b'}" },
		{ &serde_every_bucket, "{'size':1,'refill_time':2}", "{'refill_time':2,'size':1}" },
		{ &serde_every_bucket, "{'x':{'a':1,'a':'\\ud800'},'size':1,'x':[[],{},-1.5e999],"
				       "'refill_time':2}",
			"{'refill_time':2,'size':1}" },
		{ &serde_every_bucket, "[1,null,2]", "{'refill_time':2,'size':1}" },
		{ &serde_every_pair, "{'ops':[1,2,3]}",
			"{'ops':{'one_time_burst':2,'refill_time':3,'size':1}}" },
		{ &serde_every, "['x',true,1,2,3,4,5,'p','1.1.1.1','0','A','2M',null,{},null,[],"
				"[],[],{},[1]]",
			"{'any':[1],'b':1,'d':3,'flag':true,'ip':'1.1.1.1','mac':'0','macs':[],"
			"'map':{},'n':5,'pair':{},'pairs':[],'path':'p','q':4,'text':'x',"
			"'three':'2M','two':'A','w':2,'words':[]}" },
		{ &none, "{}", "{}" },
		{ &none, "[]", "{}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++)
		check_read(reads[i].object, reads[i].text, reads[i].fault);
}

static void test_read_any(void **state)
{
	(void)state;
	check_read(NULL, " null ", "null");
	check_read(NULL, "'x'", "'x'");
	check_read(NULL, "[1,-2,0,true,false]", "[1,-2,0,true,false]");
	check_read(NULL, "-9223372036854775808", "-9223372036854775808");
	check_read(NULL, "[1.5,-0,1e2,18446744073709551616]",
		"[1.5,-0.0,100.0,1.8446744073709552e19]");
	check_read(NULL, "[0e99999999999,1e-99999999999]", "[0.0,0.0]");
	check_read(NULL, "{'a':1,'b':{},'a':[]}", "{'a':[],'b':{}}");
}

/* See "Other than in Rust" in serde.h. */
static void test_differences(void **state)
{
	(void)state;
	check_fault(&serde_every, "{'q':9223372036854775808}",
		"invalid value: integer `9223372036854775808`, expected u64 at line 1 column 24");
	check_fault(NULL, "[18446744073709551615]", "number out of range at line 1 column 21");
	check_fault(&single, "{'id':'a\\u0000b'}",
		"invalid value: string 'a\\0b', expected a string without U+0000 "
		"at line 1 column 16");
	check_fault(NULL, "{'\\u0000':1}",
		"invalid value: string '\\0', expected a string without U+0000 at line 1 column 9");
	check_read(&serde_every_bucket, "{'size':1,'refill_time':2,'x':'\\u0000'}",
		"{'refill_time':2,'size':1}");
}

static char *nested(const char *open, size_t depth, const char *close, size_t *ret_len)
{
	size_t each = strlen(open) + strlen(close);
	char *text = malloc(depth * each + 1), *end = text;

	assert_non_null(text);
	for (size_t i = 0; i < depth; i++)
		end = stpcpy(end, open);
	for (size_t i = 0; i < depth; i++)
		end = stpcpy(end, close);
	*ret_len = (size_t)(end - text);
	return text;
}

static void test_depth(void **state)
{
	struct serde_fault fault;
	size_t len;
	char *text;
	json_t *v;

	(void)state;
	text = nested("[", 127, "]", &len);
	v = serde_read_any(text, len, &fault);
	assert_non_null(v);
	json_decref(v);
	free(text);
	text = nested("[", 128, "]", &len);
	assert_null(serde_read_any(text, len, &fault));
	assert_string_equal(fault.text, "recursion limit exceeded at line 1 column 128");
	free(text);
	text = nested("{\"a\":", 128, "}", &len);
	assert_null(serde_read_any(text, len, &fault));
	assert_string_equal(fault.text, "recursion limit exceeded at line 1 column 636");
	free(text);
	/* Below a field that nobody knows there is no limit, and no recursion. */
	text = nested("{\"x\":[", 100000, "]}", &len);
	assert_null(serde_read(&serde_every_bucket, text, len, &fault));
	assert_string_equal(fault.text, "missing field `size` at line 1 column 800000");
	free(text);
}

/* The place is never cut. */
static void test_long(void **state)
{
	struct serde_fault fault;
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "{\"", 2);
	memcpy(text + sizeof(text) - 4, "\":1}", 4);
	assert_null(serde_read(&single, text, sizeof(text), &fault));
	assert_true(strlen(fault.text) < sizeof(fault.text));
	assert_memory_equal(fault.text, "unknown field `xxxx", 19);
	assert_string_equal(strstr(fault.text, " at line"), " at line 1 column 1997");
}

static int allocations_left;

static void *allocate(size_t n)
{
	return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* Each allocation fails once; under ASan this also shows leaks. */
static void test_memory(void **state)
{
	static const char text[] = "{\"text\":\"x\",\"flag\":true,\"b\":1,"
				   "\"pair\":{\"ops\":[1,2,3]},"
				   "\"words\":[\"a\"],\"map\":{\"a\":\"b\"},"
				   "\"any\":[{\"k\":[-1,1.5,\"x\"]},1,2,3,4,5,6,7,8,9]}";
	struct serde_fault fault;
	json_t *v = NULL;
	int n;

	(void)state;
	json_set_alloc_funcs(allocate, free);
	for (n = 0; !v && n < 1000; n++) {
		allocations_left = n;
		v = serde_read(&serde_every, text, sizeof(text) - 1, &fault);
		if (!v)
			assert_string_equal(fault.text, "out of memory");
	}
	assert_true(v && n > 20);
	json_decref(v);
	json_set_alloc_funcs(malloc, free);
}

int main(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(topics) + 6] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_any),
		cmocka_unit_test(test_differences),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_memory),
	};

	for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
		tests[6 + i] = (struct CMUnitTest){ topics[i].name, test_topic, NULL, NULL,
			(void *)(uintptr_t)&topics[i] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}

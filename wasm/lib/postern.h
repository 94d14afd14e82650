/*
 * The handler interface (wasm/handler.wit) for C: write `pn_turn`, which gets the input and answers the output.
 *
 * A pn_json is a place in the input; nothing is parsed before it is asked for. The gateway writes the input, so it is
 * valid JSON. What is asked for and not there is a pn_json without text. Nothing is ever freed: the instance lives for
 * one turn. The C library is there, but it has no files, no clock and no randomness: such calls fail with ENOSYS.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  const char *at;
  const char *end;
} pn_json;

/* ptr << 32 | length */
typedef int64_t pn_answer;

/* The handler's own. */
pn_answer pn_turn(pn_json input);

static const char *pn_skip_string(const char *at, const char *end) {
  for (at++; at < end && *at != '"'; at++)
    if (*at == '\\') at++;
  return at < end ? at + 1 : end;
}

/* Behind the value that begins there. */
static const char *pn_skip(const char *at, const char *end) {
  int depth = 0;
  while (at < end) {
    if (*at == '"') at = pn_skip_string(at, end);
    else if (*at == '{' || *at == '[') depth++, at++;
    else if (*at == '}' || *at == ']') {
      if (depth == 0) return at;
      depth--, at++;
    } else if (depth == 0 && *at == ',') return at;
    else at++;
    if (depth == 0 && at < end && (*at == ',' || *at == '}' || *at == ']')) return at;
  }
  return end;
}

/* The member of that name (without escapes), where the value is an object that has it. */
static pn_json pn_member(pn_json object, const char *name) {
  pn_json none = {0, 0};
  size_t length = strlen(name);
  const char *at = object.at;
  if (at == 0 || at >= object.end || *at != '{') return none;
  for (at++; at < object.end && *at == '"';) {
    const char *key = at + 1;
    at = pn_skip_string(at, object.end);
    int found = (size_t)(at - 1 - key) == length && memcmp(key, name, length) == 0;
    const char *value = at + 1;
    at = pn_skip(value, object.end);
    if (found) return (pn_json){value, at};
    if (at < object.end && *at == ',') at++;
  }
  return none;
}

static int pn_is_string(pn_json value, const char *text) {
  size_t length = strlen(text);
  return value.at != 0 && (size_t)(value.end - value.at) == length + 2 && *value.at == '"' &&
         memcmp(value.at + 1, text, length) == 0;
}

/* An integer of up to 15 digits, or the fallback: also for 1.5 and 1e3. */
static int64_t pn_integer(pn_json value, int64_t fallback) {
  const char *at = value.at;
  int64_t found = 0;
  int negative = at != 0 && at < value.end && *at == '-';
  if (at == 0 || value.end - at > 15 + negative || value.end - at <= negative) return fallback;
  for (at += negative; at < value.end; at++) {
    if (*at < '0' || *at > '9') return fallback;
    found = found * 10 + (*at - '0');
  }
  return negative ? -found : found;
}

typedef struct {
  char *bytes;
  size_t length;
  size_t capacity;
} pn_text;

static void pn_put(pn_text *out, const char *bytes, size_t length) {
  if (out->length + length > out->capacity) {
    out->capacity = 2 * (out->length + length) + 64;
    out->bytes = realloc(out->bytes, out->capacity);
    if (out->bytes == 0) abort();
  }
  memcpy(out->bytes + out->length, bytes, length);
  out->length += length;
}

static void pn_put_integer(pn_text *out, int64_t value) {
  char digits[24];
  int at = sizeof digits;
  uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
  do digits[--at] = (char)('0' + rest % 10);
  while ((rest /= 10) > 0);
  if (value < 0) digits[--at] = '-';
  pn_put(out, digits + at, sizeof digits - at);
}

static void pn_put_string(pn_text *out, const char *text) {
  pn_put(out, "\"", 1);
  for (; *text != 0; text++) {
    unsigned char code = (unsigned char)*text;
    char escaped[6] = {'\\', 'u', '0', '0', "0123456789abcdef"[code >> 4], "0123456789abcdef"[code & 15]};
    if (code == '"' || code == '\\') pn_put(out, "\\", 1);
    if (code < 0x20) pn_put(out, escaped, 6);
    else pn_put(out, text, 1);
  }
  pn_put(out, "\"", 1);
}

/* JSON by a template: %d an int64_t, %s a char * as a JSON string, %j a pn_json as it stands. */
static pn_answer pn_format(const char *template, ...) {
  pn_text out = {0, 0, 0};
  va_list values;
  va_start(values, template);
  for (; *template != 0; template++) {
    if (*template != '%') {
      pn_put(&out, template, 1);
      continue;
    }
    template++;
    if (*template == 'd') pn_put_integer(&out, va_arg(values, int64_t));
    else if (*template == 's') pn_put_string(&out, va_arg(values, const char *));
    else if (*template == 'j') {
      pn_json value = va_arg(values, pn_json);
      pn_put(&out, value.at, (size_t)(value.end - value.at));
    } else abort();
  }
  va_end(values);
  return (int64_t)(uintptr_t)out.bytes << 32 | (int64_t)out.length;
}

/* The caller gets code (lower_snake) and detail, and nothing changes. */
static pn_answer pn_fail(const char *code, const char *detail) {
  return pn_format("{\"error\":{\"code\":%s,\"detail\":%s}}", code, detail);
}

__attribute__((export_name("pn_alloc"))) void *pn_alloc(size_t size) { return malloc(size); }

__attribute__((export_name("pn_handle"))) pn_answer pn_handle(const char *at, size_t length) {
  return pn_turn((pn_json){at, at + length});
}

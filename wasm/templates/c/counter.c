/* Counts up to a million. The state is {"count"}; both messages answer it. */
#include "../lib/postern.h"

#define COUNT_MAX 1000000

pn_answer pn_turn(pn_json input) {
  int64_t count = pn_integer(pn_member(pn_member(input, "state"), "count"), 0);
  count += pn_integer(pn_member(pn_member(input, "args"), "amount"), 0);
  if (count > COUNT_MAX) return pn_fail("full", "the counter goes up to 1000000");
  return pn_format("{\"reply\":{\"count\":%d},\"state\":{\"count\":%d}}", count, count);
}

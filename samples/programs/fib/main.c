/* fib [n] [depth]: recursion, wide and then deep.
 *
 * First the Fibonacci numbers up to the n-th by the plain recursive definition: a call tree with many leaves and
 * short branches. Then a descent of `depth` calls that all stand on the stack at once, each with work left to do
 * when the call below it returns.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NOINLINE __attribute__((noinline))

/* The compiler cannot see through this, and so cannot make a loop of a call whose result passes here. */
#define OPAQUE(value) __asm__ volatile("" : "+r"(value))

static NOINLINE uint64_t fib(uint32_t n) {
  if (n < 2) return n;
  uint64_t sum = fib(n - 1) + fib(n - 2);
  OPAQUE(sum);
  return sum;
}

/* A level of the descent. It lies on the stack, and the levels below it point at it. */
struct level {
  const struct level *above;
  uint32_t number;
  uint32_t seed;
};

static uint32_t mix(uint32_t value, uint32_t rounds) {
  for (uint32_t round = 0; round < rounds; round++) {
    value = value * 1664525u + 1013904223u;
    value ^= value >> 15;
  }
  return value;
}

/* What the deepest level sees when it looks all the way up. */
static uint32_t look_up(const struct level *bottom) {
  uint32_t seen = 0;
  for (const struct level *level = bottom; level != NULL; level = level->above) seen = seen * 31 + level->seed;
  return seen;
}

static uint32_t descend(const struct level *above, uint32_t depth);
static uint32_t (*volatile descend_indirectly)(const struct level *, uint32_t) = descend;

/* Every eighth level is called through a function pointer. */
static NOINLINE uint32_t descend(const struct level *above, uint32_t depth) {
  struct level here = {above, above->number + 1, mix(above->seed ^ above->number, 1 + above->number % 251)};
  uint32_t below;
  if (here.number >= depth) {
    below = look_up(&here);
  } else if (here.number % 8 == 0) {
    below = descend_indirectly(&here, depth);
  } else {
    below = descend(&here, depth);
  }
  return mix(below ^ here.seed, 1 + here.number % 241) + here.number;
}

static uint32_t number(const char *text, const char *what) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0') {
    fprintf(stderr, "fib: %s is not a number: %s\nusage: fib [n=40] [depth=10000]\n", what, text);
    exit(2);
  }
  return (uint32_t)value;
}

int main(int argc, char **argv) {
  uint32_t n = argc > 1 ? number(argv[1], "n") : 40;
  uint32_t depth = argc > 2 ? number(argv[2], "depth") : 10000;
  for (uint32_t i = 0; i <= n; i++) printf("fib(%u) = %llu\n", i, (unsigned long long)fib(i));
  struct level top = {NULL, 0, n};
  printf("depth %u: %08x\n", depth, descend(&top, depth));
  return 0;
}

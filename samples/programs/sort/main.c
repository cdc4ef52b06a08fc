/* sort [kib] [rounds]: recursive quicksort over pseudo-random numbers, then a checksum.
 *
 * Its memory changes all over while it runs, and its stack holds one frame for each part still to be sorted.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* xorshift32 (G. Marsaglia, "Xorshift RNGs", 2003). */
static uint32_t next_random(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

static void swap(uint32_t *a, uint32_t *b) {
  uint32_t kept = *a;
  *a = *b;
  *b = kept;
}

/* Hoare's partition around the middle element: everything in [first, result] is at most what is after it. */
static uint32_t *partition(uint32_t *first, uint32_t *last) {
  uint32_t pivot = first[(last - first) / 2];
  uint32_t *low = first - 1;
  uint32_t *high = last + 1;
  for (;;) {
    do low++;
    while (*low < pivot);
    do high--;
    while (*high > pivot);
    if (low >= high) return high;
    swap(low, high);
  }
}

/* Returns how many parts it made, which only the recursion itself can tell. */
static __attribute__((noinline)) uint32_t quicksort(uint32_t *first, uint32_t *last) {
  if (first >= last) return 0;
  uint32_t *middle = partition(first, last);
  uint32_t left = quicksort(first, middle);
  uint32_t right = quicksort(middle + 1, last);
  return 1 + left + right;
}

/* FNV-1a (Fowler, Noll, Vo), 64 bits wide, over whole numbers in place of bytes; order matters to it. */
static uint64_t checksum(const uint32_t *numbers, size_t count) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; i++) hash = (hash ^ numbers[i]) * 0x100000001b3u;
  return hash;
}

static int sort_once(uint32_t *numbers, size_t count, uint32_t *state) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += numbers[i] = next_random(state);
  printf("%zu numbers, sum %llu, checksum %016llx\n", count, (unsigned long long)sum,
         (unsigned long long)checksum(numbers, count));

  uint32_t parts = quicksort(numbers, numbers + count - 1);
  uint64_t sum_after = numbers[0];
  for (size_t i = 1; i < count; i++) {
    sum_after += numbers[i];
    if (numbers[i - 1] > numbers[i]) {
      printf("out of order at %zu\n", i);
      return 1;
    }
  }
  printf("sorted in %u parts, sum %llu, checksum %016llx\n", parts, (unsigned long long)sum_after,
         (unsigned long long)checksum(numbers, count));
  return sum == sum_after ? 0 : 1;
}

/* From 1 to most, or 0. */
static unsigned long number(const char *text, unsigned long most) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  return *text >= '0' && *text <= '9' && *end == '\0' && value <= most ? value : 0;
}

int main(int argc, char **argv) {
  unsigned long kib = argc > 1 ? number(argv[1], 1024 * 1024) : 1024;
  unsigned long rounds = argc > 2 ? number(argv[2], 1000000) : 20;
  if (kib == 0 || rounds == 0) {
    fprintf(stderr, "usage: sort [kib=1024] [rounds=20]\n");
    return 2;
  }
  size_t count = (size_t)kib * 1024 / sizeof(uint32_t);
  uint32_t *numbers = malloc(count * sizeof *numbers);
  if (numbers == NULL) {
    fprintf(stderr, "sort: no room for %lu KiB\n", kib);
    return 1;
  }
  uint32_t state = 2463534242u;
  int failed = 0;
  for (unsigned long round = 0; round < rounds && !failed; round++) failed = sort_once(numbers, count, &state);
  free(numbers);
  return failed;
}

/* How much work to do: the first argument in per mille of the full size, 1000 without one. */
#ifndef WORK_H
#define WORK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline uint32_t work(int argc, char **argv, uint32_t full)
{
    unsigned long per_mille = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    uint64_t scaled = (uint64_t)full * per_mille / 1000;
    return scaled < 1 ? 1 : (uint32_t)scaled;
}

/* Small and seeded (Marsaglia's xorshift): the same numbers in every run. */
static inline uint32_t next_random(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

#endif

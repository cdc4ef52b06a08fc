/* The sieve of Eratosthenes: tiny loops over a large array. */
#include <string.h>

#include "work.h"

enum { LIMIT = 4000000 };

static uint8_t composite[LIMIT + 1];

int main(int argc, char **argv)
{
    uint32_t rounds = work(argc, argv, 64);
    uint32_t count = 0, last = 0;

    for (uint32_t round = 0; round < rounds; round++) {
        memset(composite, 0, sizeof composite);
        for (uint32_t i = 2; i * i <= LIMIT; i++)
            if (!composite[i])
                for (uint32_t j = i * i; j <= LIMIT; j += i)
                    composite[j] = 1;
        for (uint32_t i = 2; i <= LIMIT; i++)
            if (!composite[i]) {
                count++;
                last = i;
            }
    }
    printf("sieve %u %u\n", count, last);
    return 0;
}

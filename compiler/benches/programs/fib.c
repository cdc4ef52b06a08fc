/* Nothing but calls. */
#include "work.h"

static uint32_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv)
{
    uint32_t rounds = work(argc, argv, 500);
    uint32_t sum = 0;

    for (uint32_t round = 0; round < rounds; round++)
        sum = sum * 31 + fib(26 + round % 4);
    printf("fib %u\n", sum);
    return 0;
}

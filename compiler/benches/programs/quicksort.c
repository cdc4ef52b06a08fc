/* Recursion over an array, with a comparison called through a pointer in every second round. */
#include "work.h"

enum { SIZE = 400000 };

static uint32_t numbers[SIZE];

static int less(uint32_t a, uint32_t b)
{
    return a < b;
}

static int mirrored_less(uint32_t a, uint32_t b)
{
    return ~a < ~b;
}

static void swap(uint32_t *a, uint32_t *b)
{
    uint32_t was = *a;
    *a = *b;
    *b = was;
}

static void sort(uint32_t *from, uint32_t *to)
{
    while (to - from > 1) {
        uint32_t pivot = from[(to - from) / 2];
        uint32_t *low = from, *high = to - 1;
        while (low <= high) {
            while (*low < pivot)
                low++;
            while (pivot < *high)
                high--;
            if (low <= high)
                swap(low++, high--);
        }
        sort(from, high + 1);
        from = low;
    }
}

static void sort_by(uint32_t *from, uint32_t *to, int (*is_less)(uint32_t, uint32_t))
{
    while (to - from > 1) {
        uint32_t pivot = from[(to - from) / 2];
        uint32_t *low = from, *high = to - 1;
        while (low <= high) {
            while (is_less(*low, pivot))
                low++;
            while (is_less(pivot, *high))
                high--;
            if (low <= high)
                swap(low++, high--);
        }
        sort_by(from, high + 1, is_less);
        from = low;
    }
}

int main(int argc, char **argv)
{
    int (*const orders[])(uint32_t, uint32_t) = { less, mirrored_less };
    uint32_t rounds = work(argc, argv, 12);
    uint32_t seed = 99, sum = 0;

    for (uint32_t round = 0; round < rounds; round++) {
        for (int i = 0; i < SIZE; i++)
            numbers[i] = next_random(&seed);
        if (round % 2)
            sort_by(numbers, numbers + SIZE, orders[round / 2 % 2]);
        else
            sort(numbers, numbers + SIZE);
        for (int i = 0; i < SIZE; i += 1000)
            sum = sum * 31 + numbers[i];
    }
    printf("quicksort %08x\n", sum);
    return 0;
}

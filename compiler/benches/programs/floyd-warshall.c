/* All shortest paths: three nested loops with a comparison. */
#include "work.h"

enum { N = 400 };

static int32_t path[N][N];

int main(int argc, char **argv)
{
    uint32_t rounds = work(argc, argv, 10);
    uint32_t seed = 12345;
    uint64_t sum = 0;

    for (uint32_t round = 0; round < rounds; round++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                path[i][j] = i == j ? 0 : next_random(&seed) % 8 ? 100000 : 1 + (int32_t)(next_random(&seed) % 999);
        for (int k = 0; k < N; k++)
            for (int i = 0; i < N; i++)
                for (int j = 0; j < N; j++) {
                    int32_t through = path[i][k] + path[k][j];
                    if (through < path[i][j])
                        path[i][j] = through;
                }
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                sum = sum * 31 + (uint32_t)path[i][j];
    }
    printf("floyd-warshall %016llx\n", (unsigned long long)sum);
    return 0;
}

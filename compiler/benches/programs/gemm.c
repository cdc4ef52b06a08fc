/* Product of dense matrices: three nested loops with a short innermost body. */
#include "work.h"

enum { N = 250 };

static double a[N][N], b[N][N], c[N][N];

int main(int argc, char **argv)
{
    uint32_t rounds = work(argc, argv, 68);

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)((i * j + 1) % N) / N;
            b[i][j] = (double)(i * (j + 1) % N) / N;
        }
    for (uint32_t round = 0; round < rounds; round++)
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++)
                c[i][j] *= 0.5;
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++)
                    c[i][j] += 1.5 * a[i][k] * b[k][j];
        }

    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum += c[i][j] * (i - j);
    printf("gemm %.6f\n", sum);
    return 0;
}

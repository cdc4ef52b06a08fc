/* A five-point stencil, from one matrix to the other and back. */
#include "work.h"

enum { N = 400 };

static double a[N][N], b[N][N];

static void step(double from[N][N], double to[N][N])
{
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++)
            to[i][j] = 0.2 * (from[i][j] + from[i][j - 1] + from[i][j + 1] + from[i - 1][j] + from[i + 1][j]);
}

int main(int argc, char **argv)
{
    uint32_t steps = work(argc, argv, 1500);

    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = ((double)i * (j + 2) + 2) / N;
            b[i][j] = ((double)i * (j + 3) + 3) / N;
        }
    for (uint32_t t = 0; t < steps; t++) {
        step(a, b);
        step(b, a);
    }

    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum += a[i][j] * (i + 2 * j);
    printf("jacobi-2d %.6f\n", sum);
    return 0;
}

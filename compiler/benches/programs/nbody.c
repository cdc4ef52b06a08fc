/* Planets under gravity: floating point with square roots, short loops that end soon. */
#include <math.h>

#include "work.h"

enum { BODIES = 5 };

struct body {
    double x, y, z, vx, vy, vz, mass;
};

static struct body bodies[BODIES] = {
    { 0, 0, 0, 0, 0, 0, 39.47841760435743 },
    { 4.84143144246472, -1.16032004402743, -0.10362204447113, 0.60632639299583, 2.81198684491626, -0.02521836165988,
      0.03769367487038 },
    { 8.34336671824458, 4.12479856412430, -0.40352341711433, -1.01077434617879, 1.82566237123041, 0.00841576137658,
      0.01128632613197 },
    { 12.89436956213913, -15.11115140169863, -0.22330757889266, 1.08279100644154, 0.86871301816960, -0.01083263740136,
      0.00172372405706 },
    { 15.37969711485092, -25.91931460998796, 0.17925877295037, 0.97909073224390, 0.59469899864767, -0.03475595550783,
      0.00203368686992 },
};

static void advance(double dt)
{
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz;
            double pull = dt / (square * sqrt(square));
            a->vx -= dx * b->mass * pull;
            a->vy -= dy * b->mass * pull;
            a->vz -= dz * b->mass * pull;
            b->vx += dx * a->mass * pull;
            b->vy += dy * a->mass * pull;
            b->vz += dz * a->mass * pull;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

static double energy(void)
{
    double sum = 0;
    for (int i = 0; i < BODIES; i++) {
        struct body *a = &bodies[i];
        sum += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
        for (int j = i + 1; j < BODIES; j++) {
            struct body *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            sum -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

int main(int argc, char **argv)
{
    uint32_t steps = work(argc, argv, 8000000);

    for (uint32_t i = 0; i < steps; i++)
        advance(0.001);
    printf("nbody %.9f\n", energy());
    return 0;
}

#include "kernels/winograd.h"

double dr_winograd_weight(const float g[9], int p)
{
    static const double transform[DR_WINOGRAD_IN][3] = {
        { 1.0 / 4, 0, 0 },
        { -1.0 / 6, -1.0 / 6, -1.0 / 6 },
        { -1.0 / 6, 1.0 / 6, -1.0 / 6 },
        { 1.0 / 24, 1.0 / 12, 1.0 / 6 },
        { 1.0 / 24, -1.0 / 12, 1.0 / 6 },
        { 0, 0, 1 },
    };
    const double *down = transform[p / DR_WINOGRAD_IN], *across = transform[p % DR_WINOGRAD_IN];
    double sum = 0;

    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            sum += down[i] * across[j] * (double)g[3 * i + j];
    return sum;
}

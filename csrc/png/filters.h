/* filters.h - the filters of PNG rows (ISO/IEC 15948, 9.2). */
#ifndef DSGUARD_FILTERS_H
#define DSGUARD_FILTERS_H

#include <stdint.h>

enum filter { FILTER_NONE, FILTER_SUB, FILTER_UP, FILTER_AVERAGE, FILTER_PAETH };

static inline uint8_t paeth(int left, int up, int corner)
{
    int by_left = up - corner, by_up = left - corner, by_corner = by_left + by_up;
    by_left = by_left < 0 ? -by_left : by_left;
    by_up = by_up < 0 ? -by_up : by_up;
    by_corner = by_corner < 0 ? -by_corner : by_corner;
    if (by_left <= by_up && by_left <= by_corner)
        return (uint8_t)left;
    return (uint8_t)(by_up <= by_corner ? up : corner);
}

#endif

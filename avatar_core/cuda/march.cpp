// CPU shells of marching: a ray at a time. Rays are counted first, so that their samples get exactly the room they need.
#include "march.h"

static const i64 NO_LIMIT = 1ll << 62;

AC_API void march_count(const MarchGrid* grid, const float* origins, const float* directions, const float* jitter,
                        i64* count, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i)
    count[i] = march_ray(*grid, origins + 3 * i, directions + 3 * i, jitter ? jitter[i] : 0.5f, nullptr, NO_LIMIT);
}

// start[i]: where the samples of ray i begin; the last one is the number of all.
AC_API void march_fill(const MarchGrid* grid, const float* origins, const float* directions, const float* jitter,
                       const i64* start, i64* ray, float* distance, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    i64 room = start[i + 1] - start[i];
    for (i64 s = start[i]; s < start[i + 1]; ++s) ray[s] = i;
    if (room)
      march_ray(*grid, origins + 3 * i, directions + 3 * i, jitter ? jitter[i] : 0.5f, distance + start[i], room);
  }
}

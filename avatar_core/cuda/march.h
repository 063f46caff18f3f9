// Samples of rays that cross occupied voxels.
//
// Sample k of a ray lies at distance (k + jitter) step, k = 0, 1, ...; it exists where its voxel is occupied and the
// distance is positive. Voxels are the bits of bricks of 4 x 4 x 4, one 64-bit word each (bit (x * 4 + y) * 4 + z): a ray
// leaps from brick to brick until one is not empty. Leaps end a little early, so they never change which samples exist.
#pragma once
#include "common.h"

struct MarchGrid {
  const u64* bricks;  // [size[0]][size[1]][size[2]]
  i32 size[3];        // bricks
  float low[3], voxel, step;
};

static const float MARCH_EARLY = 0.01f;          // steps
static const float MARCH_LAST = 16777216.0f;     // sample numbers beyond are not exact in a float

// Where the ray is inside of the grid, in steps; false if nowhere, or if it is no ray.
AC_HD bool march_clip(const MarchGrid& grid, const float* origin, const float* direction, float* near, float* far) {
  float sum = 0, length2 = 0;
  for (int d = 0; d < 3; ++d) sum += origin[d] + direction[d], length2 += direction[d] * direction[d];
  if (!(sum - sum == 0) || !(length2 > 0)) return false;
  *near = 0, *far = MARCH_LAST;
  for (int d = 0; d < 3; ++d) {
    float low = grid.low[d], high = low + 4 * grid.voxel * grid.size[d];
    if (direction[d] == 0) {
      if (!(origin[d] >= low && origin[d] < high)) return false;
      continue;
    }
    float inverse = 1 / (direction[d] * grid.step);
    float a = (low - origin[d]) * inverse, b = (high - origin[d]) * inverse;
    *near = ac_max(*near, ac_min(a, b)), *far = ac_min(*far, ac_max(a, b));
  }
  return *near < *far;
}

// The number of samples of a ray; their distances go to `out` (if it is not null), at most `room` of them.
AC_HD i64 march_ray(const MarchGrid& grid, const float* origin, const float* direction, float jitter, float* out,
                    i64 room) {
  float near, far;
  if (!march_clip(grid, origin, direction, &near, &far)) return 0;
  jitter = ac_clamp01(jitter);
  float per_voxel = 1 / grid.voxel, inverse[3];  // inverse: bricks' lengths along the ray, in steps
  for (int d = 0; d < 3; ++d) inverse[d] = direction[d] == 0 ? 0 : 4 * grid.voxel / (direction[d] * grid.step);
  i32 k = (i32)near - 1, end = (i32)far + 1;
  if (k < 0) k = 0;
  i64 count = 0;
  while (k <= end && count < room) {
    float distance = ((float)k + jitter) * grid.step;
    float place[3];
    bool inside = true;
    for (int d = 0; d < 3; ++d) {
      place[d] = (origin[d] + distance * direction[d] - grid.low[d]) * per_voxel;
      inside = inside && place[d] >= 0 && place[d] < 4.0f * grid.size[d];
    }
    if (!inside) {
      ++k;
      continue;
    }
    i32 x = (i32)place[0], y = (i32)place[1], z = (i32)place[2];
    u64 brick = grid.bricks[((i64)(x >> 2) * grid.size[1] + (y >> 2)) * grid.size[2] + (z >> 2)];
    if (brick == 0) {
      float leap = MARCH_LAST;
      for (int d = 0; d < 3; ++d) {
        float into = place[d] * 0.25f - (float)((i32)place[d] >> 2);  // of the brick, 0 to 1
        if (inverse[d] != 0) leap = ac_min(leap, (inverse[d] > 0 ? 1 - into : -into) * inverse[d]);
      }
      leap -= MARCH_EARLY;
      k += leap > 1 ? (i32)leap + (leap > (float)(i32)leap) : 1;
      continue;
    }
    if (brick >> (((x & 3) * 4 + (y & 3)) * 4 + (z & 3)) & 1 && distance > 0) {
      if (out) out[count] = distance;
      ++count;
    }
    ++k;
  }
  return count;
}

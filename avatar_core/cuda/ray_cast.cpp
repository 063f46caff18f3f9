// CPU shell of ray casting, over a half-open range of rays.
#include "ray_cast.h"

AC_API void ray_cast(const void* nodes, const void* leaves, const float* origins, const float* directions, float near,
                     float far, float* t, i64* face, float* bary, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    const float *origin = origins + 3 * i, *direction = directions + 3 * i;
    put_ray_hit(tree_cast((const Node*)nodes, (const Leaf*)leaves, origin, direction, near, far), i, t, face, bary);
  }
}

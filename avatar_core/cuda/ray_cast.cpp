// CPU shell of ray casting, over a half-open range of rays.
#include "ray_cast.h"

AC_API void ray_cast(const void* nodes, const void* leaves, const float* origins, const float* directions, float near,
                     float far, float* t, i64* face, float* bary, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i) {
    RayHit hit =
        tree_cast((const Node*)nodes, (const Leaf*)leaves, origins + 3 * i, directions + 3 * i, near, far);
    t[i] = hit.t, face[i] = hit.face;
    bary[3 * i] = 1 - hit.u - hit.v, bary[3 * i + 1] = hit.u, bary[3 * i + 2] = hit.v;
  }
}

// CUDA shells of the neighbour search, one thread a point or a query. PyTorch sorts the buckets between them.
#include "neighbours.h"

// buckets[N] of points; those that are not finite get one after the last.
extern "C" __global__ void neighbours_buckets(const float* points, double size, u32 mask, i64* buckets, i64 count) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= count) return;
  double inverse_size = 1 / size;
  const float* p = points + 3 * i;
  u32 bucket = neighbours_bucket(neighbours_cell(p[0], inverse_size), neighbours_cell(p[1], inverse_size),
                                 neighbours_cell(p[2], inverse_size));
  buckets[i] = neighbours_finite(p) ? (i64)(bucket & mask) : (i64)mask + 1;
}

struct Scan {
  __device__ void operator()(const NeighbourGrid& grid, const float* query, i32 first, i32 end, i32 wanted,
                             i64* keys) const {
    for (i32 i = first; i < end; ++i) {
      float dx = grid.sorted[i] - query[0], dy = grid.sorted[grid.padded + i] - query[1],
            dz = grid.sorted[2 * grid.padded + i] - query[2], distance2 = dx * dx + dy * dy + dz * dz;
      if (distance2 <= neighbours_distance2(keys[wanted - 1]))
        neighbours_offer(grid, i, distance2, wanted, keys);
    }
  }
};

extern "C" __global__ void neighbours_query(const i32* starts, const i32* order, const float* sorted, i64 padded,
                                            double size, u32 mask, float radius2, i32 wanted, const float* queries,
                                            i64* indices, float* distance2, i64 count) {
  i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (i >= count) return;
  NeighbourGrid grid = {starts, order, sorted, padded, size, mask};
  i64 space[NEIGHBOURS_MOST + 1], *keys = space + 1, none = neighbours_key(radius2, -1);
  neighbours_find(grid, queries + 3 * i, none, wanted, keys, Scan());
  neighbours_write(keys, none, wanted, indices + i * wanted, distance2 + i * wanted);
}

// CPU shells of the neighbour search: one sorts points into the grid, one answers a half-open range of queries.
#include "neighbours.h"

static const int LANES = 16;  // distances measured at once; the sorted coordinates are padded by as many
static const int AHEAD = 8;   // queries that are asked for early: by turns they lie anywhere

// The bucket of a point; one after the last for those that are not finite.
static i64 bucket(const float* p, double inverse_size, u32 mask) {
  if (!neighbours_finite(p)) return (i64)mask + 1;
  return neighbours_bucket(neighbours_cell(p[0], inverse_size), neighbours_cell(p[1], inverse_size),
                           neighbours_cell(p[2], inverse_size)) & mask;
}

// order[N]: points by bucket, then by index. starts[mask + 4] is zero at first, and a grid's starts from its second
// entry on at the end. Also sorts queries, so that those that look at the same points come one after the other.
AC_API void neighbours_sort(const float* points, i64 count, double size, u32 mask, i32* starts, i32* order) {
  double inverse_size = 1 / size;
  for (i64 i = 0; i < count; ++i) ++starts[bucket(points + 3 * i, inverse_size, mask) + 1];
  for (i64 b = 0; b <= (i64)mask + 1; ++b) starts[b + 1] += starts[b];
  starts[mask + 3] = (i32)count;
  // starts[b + 1] is the end of bucket b: it fills downwards to its start
  for (i64 i = count - 1; i >= 0; --i) order[--starts[bucket(points + 3 * i, inverse_size, mask) + 1]] = (i32)i;
}

// sorted[3][padded]: the points' x, y, z in their order.
AC_API void neighbours_gather(const float* points, const i32* order, float* sorted, i64 padded, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i)
    for (int d = 0; d < 3; ++d) sorted[d * padded + i] = points[3 * order[i] + d];
}

struct Scan {
  void operator()(const NeighbourGrid& grid, const float* query, i32 first, i32 end, i32 wanted, i64* keys) const {
    const float *xs = grid.sorted, *ys = xs + grid.padded, *zs = ys + grid.padded;
    for (i32 i = first; i < end; i += LANES) {
      float distance2[LANES], worst = neighbours_distance2(keys[wanted - 1]);
      int hits[LANES], count = 0, within = end - i < LANES ? end - i : LANES;
      for (int k = 0; k < LANES; ++k) {
        float dx = xs[i + k] - query[0], dy = ys[i + k] - query[1], dz = zs[i + k] - query[2];
        distance2[k] = dx * dx + dy * dy + dz * dz;
      }
      for (int k = 0; k < LANES; ++k) {  // without a branch
        hits[count] = k;
        count += distance2[k] <= worst;
      }
      for (int h = 0; h < count && hits[h] < within; ++h)
        neighbours_offer(grid, i + hits[h], distance2[hits[h]], wanted, keys);
    }
  }
};

// turns[N]: the queries' order, by neighbours_sort. indices[N][wanted], distance2[N][wanted] in the queries' own order.
AC_API void neighbours_query(const i32* starts, const i32* order, const float* sorted, i64 padded, double size,
                             u32 mask, float radius2, i32 wanted, const float* queries, const i32* turns,
                             i64* indices, float* distance2, i64 begin, i64 end) {
  NeighbourGrid grid = {starts, order, sorted, padded, size, mask};
  i64 space[NEIGHBOURS_MOST + 1], *keys = space + 1, none = neighbours_key(radius2, -1);
  for (i64 turn = begin; turn < end; ++turn) {
    i64 i = turns[turn], later = turns[turn + AHEAD < end ? turn + AHEAD : end - 1];
    __builtin_prefetch(queries + 3 * later);
    __builtin_prefetch(indices + later * wanted, 1), __builtin_prefetch(distance2 + later * wanted, 1);
    neighbours_find(grid, queries + 3 * i, none, wanted, keys, Scan());
    neighbours_write(keys, none, wanted, indices + i * wanted, distance2 + i * wanted);
  }
}

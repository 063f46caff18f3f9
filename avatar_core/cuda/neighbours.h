// The K nearest of points within a radius, exactly, by a grid whose memory does not depend on the points' bounding box.
//
// Space is cut into cubic cells a little larger than the radius, so that all neighbours of a query lie in its 3 x 3 x 3
// cells. Points are sorted by the bucket of their cell, a counting sort: bucket = (hash(y, z) + x) mod the number of
// buckets. Thus the three cells of a row along x are one run of points, and a query scans nine runs. Cells that share a
// bucket cost time, not exactness: every distance is measured, and a point that is met twice is recognised.
//
// Keys (squared distance, index) order neighbours: positive floats order like their bits, and ties go by the index.
#pragma once
#include "common.h"

#define NEIGHBOURS_MOST 64  // K at most

AC_HD bool neighbours_finite(const float* p) { return (p[0] - p[0]) + (p[1] - p[1]) + (p[2] - p[2]) == 0; }

// Cells beyond 2^40 are one: still no neighbours' cells are more than one apart.
AC_HD i64 neighbours_cell(float p, double inverse_size) {
  double at = p * inverse_size;
  at = at < -1e12 ? -1e12 : at > 1e12 ? 1e12 : at;
  i64 cell = (i64)at;
  return cell - (at < (double)cell);  // floor
}

AC_HD u32 neighbours_bucket(i64 x, i64 y, i64 z) {
  u32 hash = ((u32)y * 2654435761u) ^ ((u32)z * 805459861u);
  return (hash ^ hash >> 15) + (u32)x;
}

AC_HD i64 neighbours_key(float distance2, i32 index) {
  union {
    float number;
    u32 bits;
  } value;
  value.number = distance2;
  return (i64)value.bits << 32 | (u32)index;
}

AC_HD float neighbours_distance2(i64 key) {
  union {
    float number;
    u32 bits;
  } value;
  value.bits = (u32)(key >> 32);
  return value.number;
}

// Puts a key into its place among sorted keys[blocks * 8], if it is not there yet; keys[-1] is 0. Eight keys at once:
// each becomes the middle one of itself, the one before it, and the new one.
AC_HD void neighbours_insert(i64* keys, i32 blocks, i64 key) {
  i64 met = 0;
  for (i32 k = 0; k < blocks * 8; k += 8)
    for (int j = 0; j < 8; ++j) met |= keys[k + j] == key;
  if (met) return;
  for (i32 k = (blocks - 1) * 8; k >= 0; k -= 8) {
    i64 moved[8];
    for (int j = 0; j < 8; ++j) {
      i64 before = keys[k + j - 1] > key ? keys[k + j - 1] : key;
      moved[j] = keys[k + j] < before ? keys[k + j] : before;
    }
    for (int j = 0; j < 8; ++j) keys[k + j] = moved[j];
  }
}

// The square of how far the query is from the cells' slab `step` (-1, 0, 1) away along one axis; offset: of the query
// within its cell. Rounded down.
AC_HD float neighbours_gap2(double offset, int step, double size) {
  double gap = step < 0 ? offset : step > 0 ? size - offset : 0;
  return (float)(gap * gap * (1 - 1e-5));
}

// Points by bucket, then by index: bucket b holds [starts[b], starts[b + 1]). sorted[3][padded]: their x, y, z; order:
// their indices. Points that are not finite are in no bucket.
struct NeighbourGrid {
  const i32* starts;
  const i32* order;
  const float* sorted;
  i64 padded;
  double size;  // of a cell
  u32 mask;     // buckets - 1
};

// Offers the point at a place in bucket order.
AC_HD void neighbours_offer(const NeighbourGrid& grid, i32 at, float distance2, i32 wanted, i64* keys) {
  i64 key = neighbours_key(distance2, grid.order[at]);
  if (key < keys[wanted - 1]) neighbours_insert(keys, (wanted + 7) / 8, key);
}

// Sorted keys[wanted] of the query's neighbours, the rest `none`; keys[-1 .. wanted rounded up to 8) must be there. Scan: called with (grid, query, first and end in
// bucket order, wanted, keys), offers those points.
template <class Scan>
AC_HD void neighbours_find(const NeighbourGrid& grid, const float* query, i64 none, i32 wanted, i64* keys, Scan scan) {
  for (i32 k = 0; k < (wanted + 7) / 8 * 8; ++k) keys[k] = none;
  keys[-1] = 0;
  if (!neighbours_finite(query)) return;
  double inverse_size = 1 / grid.size;
  i64 cell[3];
  for (int d = 0; d < 3; ++d) cell[d] = neighbours_cell(query[d], inverse_size);
  float gap2[3][3];  // per axis: to the own cell, to the nearer and to the farther one beside it
  int side[3];       // where the nearer one is
  for (int d = 0; d < 3; ++d) {
    double offset = query[d] - cell[d] * grid.size;
    side[d] = offset < grid.size / 2 ? -1 : 1;
    gap2[d][0] = 0;
    gap2[d][1] = neighbours_gap2(offset, side[d], grid.size);
    gap2[d][2] = neighbours_gap2(offset, -side[d], grid.size);
  }
  for (int row = 0; row < 9; ++row) {  // the own one first
    int j = row % 3, k = row / 3;
    float gap = gap2[1][j] + gap2[2][k], worst = neighbours_distance2(keys[wanted - 1]);
    if (gap > worst) continue;
    bool nearer = gap + gap2[0][1] <= worst, farther = gap + gap2[0][2] <= worst;
    bool before = side[0] < 0 ? nearer : farther, after = side[0] < 0 ? farther : nearer;
    i64 y = cell[1] + (j == 0 ? 0 : j == 1 ? side[1] : -side[1]);
    i64 z = cell[2] + (k == 0 ? 0 : k == 1 ? side[2] : -side[2]);
    u32 first = neighbours_bucket(cell[0] - before, y, z) & grid.mask, end = first + 1 + before + after;
    u32 stop = end <= grid.mask + 1 ? end : grid.mask + 1;  // the rest goes on at the first bucket
    scan(grid, query, grid.starts[first], grid.starts[stop], wanted, keys);
    if (stop < end) scan(grid, query, grid.starts[0], grid.starts[end - stop], wanted, keys);
  }
}

AC_HD void neighbours_write(const i64* keys, i64 none, i32 wanted, i64* indices, float* distance2) {
  for (i32 k = 0; k < wanted; ++k) {
    indices[k] = keys[k] == none ? -1 : (i64)(u32)keys[k];
    distance2[k] = neighbours_distance2(keys[k] == none ? (i64)0x7f800000 << 32 : keys[k]);  // infinity
  }
}

// The first triangle that a ray meets, in the tree of closest_point.h.
#pragma once
#include "closest_point.h"

struct RayHit {
  float t, u, v;  // hit = origin + t direction = a + u e1 + v e2
  i32 face;       // -1: none
};

static const float RAY_EDGE = 1e-5f;   // barycentric by which triangles are larger, so that no ray slips between two
static const float RAY_FLAT = 1e-20f;  // a smaller component of a direction, and a smaller determinant, count as zero

// Moeller and Trumbore 1997 for a leaf's triangles, both sides; keeps the nearest in `hit`, of equals the first face.
AC_HD void leaf_cast(const Leaf& leaf, const float* o, const float* d, float near, RayHit& hit) {
  float ts[WIDE], us[WIDE], vs[WIDE];
  for (int i = 0; i < WIDE; ++i) {
    float ex = leaf.e1[0][i], ey = leaf.e1[1][i], ez = leaf.e1[2][i];
    float fx = leaf.e2[0][i], fy = leaf.e2[1][i], fz = leaf.e2[2][i];
    float px = d[1] * fz - d[2] * fy, py = d[2] * fx - d[0] * fz, pz = d[0] * fy - d[1] * fx;
    float determinant = ex * px + ey * py + ez * pz;
    float size = determinant < 0 ? -determinant : determinant;
    float inverse = 1.0f / (size > RAY_FLAT ? determinant : RAY_FLAT);
    float sx = o[0] - leaf.a[0][i], sy = o[1] - leaf.a[1][i], sz = o[2] - leaf.a[2][i];
    float u = (sx * px + sy * py + sz * pz) * inverse;
    float qx = sy * ez - sz * ey, qy = sz * ex - sx * ez, qz = sx * ey - sy * ex;
    float v = (d[0] * qx + d[1] * qy + d[2] * qz) * inverse;
    float t = (fx * qx + fy * qy + fz * qz) * inverse;
    bool inside = (size > RAY_FLAT) & (u >= -RAY_EDGE) & (v >= -RAY_EDGE) & (u + v <= 1 + RAY_EDGE) & (t >= near);
    ts[i] = inside ? t : FAR_AWAY, us[i] = u, vs[i] = v;
  }
  for (int i = 0; i < WIDE; ++i) {
    bool nearer = ts[i] < hit.t || (ts[i] == hit.t && ts[i] < FAR_AWAY && leaf.face[i] < hit.face);
    if (nearer) hit = RayHit{ts[i], us[i], vs[i], leaf.face[i]};
  }
}

// Where the ray enters each child's box, or FAR_AWAY. inverse: 1 / direction, 0 along axes that the ray is parallel to:
// there it is inside of the slab everywhere, borders included, or nowhere.
AC_HD void node_entries(const Node& node, const float* o, const float* inverse, float near, float far, float* entry) {
  for (int i = 0; i < WIDE; ++i) {
    float low = near, high = far;
    for (int d = 0; d < 3; ++d) {
      float one = (node.low[d][i] - o[d]) * inverse[d], two = (node.high[d][i] - o[d]) * inverse[d];
      bool parallel = inverse[d] == 0;
      one = parallel ? (node.low[d][i] <= o[d] ? -FAR_AWAY : FAR_AWAY) : one;
      two = parallel ? (node.high[d][i] >= o[d] ? FAR_AWAY : -FAR_AWAY) : two;
      low = ac_max(low, ac_min(one, two)), high = ac_min(high, ac_max(one, two));
    }
    bool used = node.low[0][i] <= node.high[0][i];
    entry[i] = used && low <= high * 1.000001f + 1e-7f ? low : FAR_AWAY;
  }
}

// The first hit with near <= t < far; face -1 if there is none, or the ray is not finite or has no direction.
AC_HD RayHit tree_cast(const Node* nodes, const Leaf* leaves, const float* o, const float* d, float near, float far) {
  RayHit hit = {far, 0, 0, -1};
  float inverse[3], size = 0;
  for (int k = 0; k < 3; ++k) {
    bool parallel = (d[k] < 0 ? -d[k] : d[k]) <= RAY_FLAT;
    inverse[k] = parallel ? 0.0f : 1.0f / d[k];
    size += d[k] * d[k] + 0 * o[k];
  }
  if (!(size > 0 && size < FAR_AWAY)) return hit;
  i32 stack[STACK];
  float reach[STACK];
  int top = 1;
  stack[0] = 0, reach[0] = near;
  while (top) {
    --top;
    if (reach[top] > hit.t) continue;
    i32 index = stack[top];
    if (index < 0) {
      leaf_cast(leaves[~index], o, d, near, hit);
      continue;
    }
    float entry[WIDE];
    node_entries(nodes[index], o, inverse, near, hit.t, entry);
    int base = top;
    for (int i = 0; i < WIDE; ++i) {
      if (!(entry[i] < FAR_AWAY)) continue;
      int place = top++;  // insertion sort: the nearest child on top
      for (; place > base && reach[place - 1] < entry[i]; --place)
        stack[place] = stack[place - 1], reach[place] = reach[place - 1];
      stack[place] = nodes[index].child[i], reach[place] = entry[i];
    }
  }
  return hit;
}

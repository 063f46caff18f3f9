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

// A ray as boxes see it: along each axis it enters a slab at the plane x after (x - near) inverse and leaves it after
// (x - far) inverse; from origins a hair apart, so that rounding makes boxes larger, never smaller. Parallel to an axis the
// inverse is so large that it is inside of a slab everywhere, borders included, or nowhere.
struct BoxRay {
  float near[3], far[3], inverse[3];
};

AC_HD BoxRay box_ray(const float* o, const float* d) {
  BoxRay ray;
  for (int k = 0; k < 3; ++k) {
    float size = d[k] < 0 ? -d[k] : d[k];
    float hair = 1e-6f * (o[k] < 0 ? -o[k] : o[k]) + 1e-12f;
    ray.inverse[k] = size > RAY_FLAT ? 1.0f / d[k] : FAR_AWAY;
    ray.near[k] = ray.inverse[k] > 0 ? o[k] + hair : o[k] - hair;
    ray.far[k] = ray.inverse[k] > 0 ? o[k] - hair : o[k] + hair;
  }
  return ray;
}

// Where the ray enters each child's box, or FAR_AWAY. An unused child is left before it is entered.
AC_HD void node_entries(const Node& node, const BoxRay& ray, float near, float far, float* entry) {
  const float *first[3], *last[3];
  for (int d = 0; d < 3; ++d) {
    bool up = ray.inverse[d] > 0;
    first[d] = up ? node.low[d] : node.high[d], last[d] = up ? node.high[d] : node.low[d];
  }
  for (int i = 0; i < WIDE; ++i) {
    float enter = near, leave = far;
    enter = ac_max(enter, (first[0][i] - ray.near[0]) * ray.inverse[0]);
    enter = ac_max(enter, (first[1][i] - ray.near[1]) * ray.inverse[1]);
    enter = ac_max(enter, (first[2][i] - ray.near[2]) * ray.inverse[2]);
    leave = ac_min(leave, (last[0][i] - ray.far[0]) * ray.inverse[0]);
    leave = ac_min(leave, (last[1][i] - ray.far[1]) * ray.inverse[1]);
    leave = ac_min(leave, (last[2][i] - ray.far[2]) * ray.inverse[2]);
    entry[i] = enter <= ac_max(leave * 1.000001f, leave * 0.999999f) ? enter : FAR_AWAY;
  }
}

// The first hit with near <= t < far below node `root`; face -1 if there is none, or the ray is not finite or has no
// direction.
AC_HD RayHit tree_cast(const Node* nodes, const Leaf* leaves, i32 root, const float* o, const float* d, float near,
                       float far) {
  RayHit hit = {far, 0, 0, -1};
  float size = 0;
  for (int k = 0; k < 3; ++k) size += d[k] * d[k] + 0 * o[k];
  if (!(size > 0 && size < FAR_AWAY)) return hit;
  BoxRay ray = box_ray(o, d);
  Stack stack;
  stack.index[0] = root, stack.reach[0] = near, stack.count = 1;
  while (stack.count) {
    i32 index = stack.index[--stack.count];
    if (stack.reach[stack.count] > hit.t) continue;
    if (index < 0) {
      leaf_cast(leaves[~index], o, d, near, hit);
    } else {
      float entry[WIDE];
      node_entries(nodes[index], ray, near, hit.t, entry);
      push_children(stack, nodes[index], entry, FAR_AWAY);
    }
  }
  return hit;
}

// What a query returns for its i-th ray.
AC_HD void put_ray_hit(const RayHit& hit, i64 i, float* t, i64* face, float* bary) {
  bool found = hit.face >= 0;
  t[i] = found ? hit.t : FAR_AWAY * FAR_AWAY;  // infinity
  face[i] = hit.face;
  bary[3 * i] = found ? 1 - hit.u - hit.v : 0, bary[3 * i + 1] = hit.u, bary[3 * i + 2] = hit.v;
}

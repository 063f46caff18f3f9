// Closest points of a triangle mesh: an eight-wide tree of boxes, built by the surface area heuristic.
#pragma once
#include "common.h"

// Below MAX_SKEW levels parts are halved, so a tree has at most MAX_SKEW + 11 levels (2^31 faces), and a query that leaves
// seven children a level behind fits its stack.
enum { WIDE = 8, BINS = 16, MAX_SKEW = 48, STACK = 512 };
static const float FAR_AWAY = 1e30f;

// child >= 0: a node; child < 0: leaf ~child; unused children have an empty box (low > high).
struct Node {
  float low[3][WIDE], high[3][WIDE];
  i32 child[WIDE];
};

// Up to eight triangles, the last one repeated: corner a and edges e1 = b - a, e2 = c - a.
struct Leaf {
  float a[3][WIDE], e1[3][WIDE], e2[3][WIDE];
  i32 face[WIDE];
};

struct Hit {
  float distance2, u, v;  // closest point = a + u e1 + v e2
  i32 face;
};

// Closest point of each of a leaf's triangles (Ericson, Real-Time Collision Detection 5.1.5, without branches: the plane
// point where it lies inside, else the nearest of the three edges). Keeps the best in `hit`. With && instead of & compilers
// make branches, and no vectors.
AC_HD void leaf_closest(const Leaf& leaf, const float* p, Hit& hit) {
  float distance[WIDE], us[WIDE], vs[WIDE];
  for (int i = 0; i < WIDE; ++i) {
    float px = p[0] - leaf.a[0][i], py = p[1] - leaf.a[1][i], pz = p[2] - leaf.a[2][i];
    float ex = leaf.e1[0][i], ey = leaf.e1[1][i], ez = leaf.e1[2][i];
    float fx = leaf.e2[0][i], fy = leaf.e2[1][i], fz = leaf.e2[2][i];
    float ee = ex * ex + ey * ey + ez * ez, ef = ex * fx + ey * fy + ez * fz, ff = fx * fx + fy * fy + fz * fz;
    float ep = ex * px + ey * py + ez * pz, fp = fx * px + fy * py + fz * pz;
    float inverse = 1.0f / ac_max(ee * ff - ef * ef, 1e-30f);
    float s = (ff * ep - ef * fp) * inverse, t = (ee * fp - ef * ep) * inverse;
    bool inside = (s >= 0) & (t >= 0) & (s + t <= 1);
    float u1 = ac_clamp01(ep / ac_max(ee, 1e-30f));
    float v2 = ac_clamp01(fp / ac_max(ff, 1e-30f));
    float u3 = ac_clamp01((ff - ef + ep - fp) / ac_max(ee - 2 * ef + ff, 1e-30f));
#define AC_AT(u, v, d)                                                                       \
  float d;                                                                                   \
  {                                                                                          \
    float x = px - (u)*ex - (v)*fx, y = py - (u)*ey - (v)*fy, z = pz - (u)*ez - (v)*fz;      \
    d = x * x + y * y + z * z;                                                               \
  }
    AC_AT(s, t, d0)
    AC_AT(u1, 0.0f, d1)
    AC_AT(0.0f, v2, d2)
    AC_AT(u3, 1 - u3, d3)
#undef AC_AT
    float u = u1, v = 0, best = d1;
    bool second = d2 < best;
    best = second ? d2 : best, u = second ? 0 : u, v = second ? v2 : v;
    bool third = d3 < best;
    best = third ? d3 : best, u = third ? u3 : u, v = third ? 1 - u3 : v;
    bool plane = inside & (d0 <= best);
    distance[i] = plane ? d0 : best, us[i] = plane ? s : u, vs[i] = plane ? t : v;
  }
  for (int i = 0; i < WIDE; ++i)
    if (distance[i] < hit.distance2) hit = Hit{distance[i], us[i], vs[i], leaf.face[i]};
}

// Squared distance from p to each child's box.
AC_HD void node_distances(const Node& node, const float* p, float* distance) {
  for (int i = 0; i < WIDE; ++i) {
    float x = ac_max(ac_max(node.low[0][i] - p[0], p[0] - node.high[0][i]), 0.0f);
    float y = ac_max(ac_max(node.low[1][i] - p[1], p[1] - node.high[1][i]), 0.0f);
    float z = ac_max(ac_max(node.low[2][i] - p[2], p[2] - node.high[2][i]), 0.0f);
    distance[i] = x * x + y * y + z * z;
  }
}

// What is still to be visited, the nearest on top.
struct Stack {
  i32 index[STACK];  // as Node::child
  float reach[STACK];
  i32 count;
};

// Pushes the children that are nearer than `bound`; an insertion sort, which needs no swaps where queries are coherent.
AC_HD void push_children(Stack& stack, const Node& node, const float* distance, float bound) {
  i32 base = stack.count;
  for (int i = 0; i < WIDE; ++i) {
    if (!(distance[i] < bound)) continue;
    i32 place = stack.count++;
    for (; place > base && stack.reach[place - 1] < distance[i]; --place)
      stack.index[place] = stack.index[place - 1], stack.reach[place] = stack.reach[place - 1];
    stack.index[place] = node.child[i], stack.reach[place] = distance[i];
  }
}

// The closest point of the whole mesh; face stays -1 if nothing is nearer than sqrt(reach2), or p is not a number.
AC_HD Hit tree_closest(const Node* nodes, const Leaf* leaves, const float* p, float reach2) {
  Hit hit = {reach2, 0, 0, -1};
  Stack stack;
  stack.index[0] = 0, stack.reach[0] = 0, stack.count = 1;
  while (stack.count) {
    i32 index = stack.index[--stack.count];
    if (stack.reach[stack.count] >= hit.distance2) continue;
    if (index < 0) {
      leaf_closest(leaves[~index], p, hit);
    } else {
      float distance[WIDE];
      node_distances(nodes[index], p, distance);
      push_children(stack, nodes[index], distance, hit.distance2);
    }
  }
  return hit;
}

// What a query returns for its i-th point; a lost one counts as the first corner of face 0, infinitely far.
AC_HD void put_hit(const Hit& hit, i64 i, float* distance2, i64* face, float* bary) {
  bool found = hit.face >= 0;
  distance2[i] = found ? hit.distance2 : FAR_AWAY * FAR_AWAY;  // infinity
  face[i] = found ? hit.face : 0;
  bary[3 * i] = 1 - hit.u - hit.v, bary[3 * i + 1] = hit.u, bary[3 * i + 2] = hit.v;
}

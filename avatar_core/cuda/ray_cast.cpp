// CPU shell of ray casting, over a half-open range of rays. Those of a picture lie side by side, and most miss: PACKET of
// them ask at once, by intervals, for the part of the tree that holds all of their hits. For four packets of five there is
// none, and the others' rays start below the root. To go on together from there, leaf by leaf, took as long.
#include "ray_cast.h"

namespace {

const int PACKET = 32;
const i32 NOWHERE = -1;
typedef float Four __attribute__((vector_size(16)));

// Of PACKET rays: as BoxRay, with the most careful origins, and both ends of the inverse. Along an axis on which
// directions have several signs nothing is known, and the inverse is 0.
struct Bounds {
  float near[3], far[3], inverse[2][3];
  bool up[3];
};

// Of numbers [PACKET, 3], along each axis; returns whether all are finite. The fourth number, the next ray's first, is
// none, and makes a vector register full.
bool extremes(const float* numbers, float* low, float* high) {
  Four one, least, most, zero = {};
  __builtin_memcpy(&least, numbers, sizeof least);
  most = least;
  for (int i = 0; i < PACKET; ++i) {
    // the last one starts a number earlier, and is turned
    __builtin_memcpy(&one, numbers + 3 * i - (i == PACKET - 1), sizeof one);
    if (i == PACKET - 1) one = Four{one[1], one[2], one[3], 0};
    least = one < least ? one : least, most = one > most ? one : most, zero += 0 * one;
  }
  for (int k = 0; k < 3; ++k) low[k] = least[k], high[k] = most[k];
  return zero[0] + zero[1] + zero[2] == 0;
}

// False if a ray is not finite.
bool bound(const float* origins, const float* directions, Bounds& bounds) {
  float low[3], high[3], least[3], most[3];
  if (!extremes(origins, low, high) | !extremes(directions, least, most)) return false;
  BoxRay one = box_ray(low, least), two = box_ray(high, most);
  for (int k = 0; k < 3; ++k) {
    bool flat = (least[k] >= -RAY_FLAT) & (most[k] <= RAY_FLAT), up = flat | (least[k] > RAY_FLAT);
    bool known = up | (most[k] < -RAY_FLAT);
    bounds.up[k] = up;
    bounds.near[k] = up ? two.near[k] : one.near[k], bounds.far[k] = up ? one.far[k] : two.far[k];
    bounds.inverse[0][k] = known ? one.inverse[k] : 0, bounds.inverse[1][k] = known ? two.inverse[k] : 0;
  }
  return true;
}

// How many children any of the rays may meet, and the last of them; see node_entries.
int reached(const Node& node, const Bounds& bounds, float near, float far, i32* child) {
  float enter[WIDE], leave[WIDE];
  for (int i = 0; i < WIDE; ++i) enter[i] = near, leave[i] = far;
  for (int k = 0; k < 3; ++k) {
    const float *first = bounds.up[k] ? node.low[k] : node.high[k], *last = bounds.up[k] ? node.high[k] : node.low[k];
    const float one = bounds.inverse[0][k], two = bounds.inverse[1][k];
    if (one == 0) continue;
    for (int i = 0; i < WIDE; ++i) {
      float in = first[i] - bounds.near[k], out = last[i] - bounds.far[k];
      enter[i] = ac_max(ac_min(in * one, in * two), enter[i]);
      leave[i] = ac_min(ac_max(out * one, out * two), leave[i]);
    }
  }
  int count = 0;
  for (int i = 0; i < WIDE; ++i)
    if (enter[i] <= ac_max(leave[i] * 1.000001f, leave[i] * 0.999999f)) *child = node.child[i], ++count;
  return count;
}

// The smallest node that holds all hits of PACKET rays; the root if one is not finite.
i32 packet_root(const Node* nodes, const float* origins, const float* directions, float near, float far) {
  Bounds bounds;
  if (!bound(origins, directions, bounds)) return 0;
  for (i32 index = 0;;) {
    i32 child = 0;
    int count = reached(nodes[index], bounds, near, far, &child);
    if (count == 0) return NOWHERE;
    if (count > 1 || child < 0) return index;
    index = child;
  }
}

}  // namespace

AC_API void ray_cast(const void* nodes, const void* leaves, const float* origins, const float* directions, float near,
                     float far, float* t, i64* face, float* bary, i64 begin, i64 end) {
  const Node* tree = (const Node*)nodes;
  for (i64 start = begin; start < end; start += PACKET) {
    i64 stop = start + PACKET < end ? start + PACKET : end;
    i32 root = 0;
    if (stop - start == PACKET) root = packet_root(tree, origins + 3 * start, directions + 3 * start, near, far);
    for (i64 i = start; i < stop; ++i) {
      RayHit hit = {far, 0, 0, -1};
      if (root != NOWHERE) hit = tree_cast(tree, (const Leaf*)leaves, root, origins + 3 * i, directions + 3 * i, near, far);
      put_ray_hit(hit, i, t, face, bary);
    }
  }
}

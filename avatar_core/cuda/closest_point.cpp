// CPU shells of the closest point: building the tree, and queries over a half-open range.
#include "closest_point.h"

namespace {

// The fourth number is none, and makes a vector register full.
struct Box {
  float low[4], high[4];
};

struct Primitive {
  Box box;
  i32 face;
};

struct Builder {
  const float* vertices;
  const i32* faces;
  Primitive* primitives;  // rearranged while splitting
  Node* nodes;
  Leaf* leaves;
  i32 node_count, leaf_count;
};

struct Range {
  i32 begin, end;
  i32 size() const { return end - begin; }
};

void clear(Box& box) {
  for (int d = 0; d < 4; ++d) box.low[d] = FAR_AWAY, box.high[d] = -FAR_AWAY;
}

void grow(Box& box, const float* low, const float* high) {
  for (int d = 0; d < 4; ++d) box.low[d] = ac_min(box.low[d], low[d]);
  for (int d = 0; d < 4; ++d) box.high[d] = ac_max(box.high[d], high[d]);
}

void grow(Box& box, const Box& other) { grow(box, other.low, other.high); }

float area(const Box& box) {
  float x = box.high[0] - box.low[0], y = box.high[1] - box.low[1], z = box.high[2] - box.low[2];
  return x < 0 ? 0 : x * y + y * z + z * x;
}

// Twice the middle, which orders as the middle does.
float centre(const Box& box, int d) { return box.low[d] + box.high[d]; }

// Even slices of a range along an axis.
struct Slices {
  float low, scale;
  int of(float value) const {
    int slice = (int)((value - low) * scale);
    return slice < 0 ? 0 : slice >= BINS ? BINS - 1 : slice;
  }
};

// Splits a range in two by the cheapest plane between BINS slices along each axis; returns the middle.
i32 split(Builder& b, Range range) {
  Box centres;
  clear(centres);
  for (i32 i = range.begin; i < range.end; ++i) {
    const Box& box = b.primitives[i].box;
    float c[4];
    for (int d = 0; d < 4; ++d) c[d] = box.low[d] + box.high[d];
    grow(centres, c, c);
  }
  Slices slices[3];
  Box bins[3][BINS];
  i32 counts[3][BINS];
  for (int d = 0; d < 3; ++d) {
    float extent = centres.high[d] - centres.low[d];
    slices[d] = Slices{centres.low[d], extent > 1e-12f ? BINS / extent : 0};
    for (int k = 0; k < BINS; ++k) clear(bins[d][k]), counts[d][k] = 0;
  }
  for (i32 i = range.begin; i < range.end; ++i)
    for (int d = 0; d < 3; ++d) {
      const Box& box = b.primitives[i].box;
      int k = slices[d].of(centre(box, d));
      grow(bins[d][k], box), ++counts[d][k];
    }
  float best = FAR_AWAY;
  int axis = -1, plane = 0;
  for (int d = 0; d < 3; ++d) {
    float right_area[BINS];
    Box sum;
    clear(sum);
    for (int k = BINS - 1; k > 0; --k) grow(sum, bins[d][k]), right_area[k] = area(sum);
    clear(sum);
    i32 left = 0;
    for (int k = 0; k + 1 < BINS; ++k) {
      grow(sum, bins[d][k]), left += counts[d][k];
      if (left == 0 || left == range.size()) continue;
      float cost = area(sum) * left + right_area[k + 1] * (range.size() - left);
      if (cost < best) best = cost, axis = d, plane = k;
    }
  }
  if (axis < 0) return (range.begin + range.end) / 2;
  i32 left = range.begin, right = range.end;
  while (left < right) {
    Primitive& one = b.primitives[left];
    if (slices[axis].of(centre(one.box, axis)) <= plane) {
      ++left;
    } else {
      Primitive other = b.primitives[--right];
      b.primitives[right] = one, one = other;
    }
  }
  return left;
}

// Corners and edges of the leaf's faces; returns the box around them.
Box fill_leaf(Leaf& leaf, const float* vertices, const i32* faces) {
  Box box;
  clear(box);
  for (int i = 0; i < WIDE; ++i) {
    const i32* corner = faces + 3 * leaf.face[i];
    for (int d = 0; d < 3; ++d) {
      float a = vertices[3 * corner[0] + d], b = vertices[3 * corner[1] + d], c = vertices[3 * corner[2] + d];
      leaf.a[d][i] = a, leaf.e1[d][i] = b - a, leaf.e2[d][i] = c - a;
      box.low[d] = ac_min(box.low[d], ac_min(a, ac_min(b, c)));
      box.high[d] = ac_max(box.high[d], ac_max(a, ac_max(b, c)));
    }
  }
  return box;
}

i32 make_leaf(Builder& b, Range range) {
  Leaf& leaf = b.leaves[b.leaf_count];
  for (int i = 0; i < WIDE; ++i) leaf.face[i] = b.primitives[range.begin + (i < range.size() ? i : range.size() - 1)].face;
  fill_leaf(leaf, b.vertices, b.faces);
  return ~b.leaf_count++;
}

i32 make_node(Builder& b, Range range, int depth) {
  i32 index = b.node_count++;
  Range part[WIDE] = {range};
  int parts = 1;
  while (parts < WIDE) {  // split the largest part until there are eight, or all fit in leaves
    int largest = 0;
    for (int i = 1; i < parts; ++i)
      if (part[i].size() > part[largest].size()) largest = i;
    Range one = part[largest];
    if (one.size() <= WIDE) break;
    i32 middle = depth < MAX_SKEW ? split(b, one) : (one.begin + one.end) / 2;
    part[largest] = Range{one.begin, middle};
    part[parts++] = Range{middle, one.end};
  }
  Node node;
  for (int i = 0; i < WIDE; ++i) {
    Box box;
    clear(box);
    node.child[i] = 0;
    if (i < parts) {
      for (i32 k = part[i].begin; k < part[i].end; ++k) grow(box, b.primitives[k].box);
      node.child[i] = part[i].size() <= WIDE ? make_leaf(b, part[i]) : make_node(b, part[i], depth + 1);
    }
    for (int d = 0; d < 3; ++d) node.low[d][i] = box.low[d], node.high[d][i] = box.high[d];
  }
  b.nodes[index] = node;
  return index;
}

}  // namespace

AC_API i64 closest_node_bytes() { return sizeof(Node); }
AC_API i64 closest_primitive_bytes() { return sizeof(Primitive); }
AC_API i64 closest_leaf_bytes() { return sizeof(Leaf); }

// Builds the tree of `count` > 0 faces; returns the number of its nodes, and of its leaves in the upper half. primitives,
// nodes, leaves: room for one a face.
AC_API i64 closest_build(const float* vertices, const i32* faces, i64 count, void* primitives, void* nodes,
                         void* leaves) {
  Primitive* primitive = (Primitive*)primitives;
  for (i64 f = 0; f < count; ++f) {
    primitive[f].face = (i32)f;
    clear(primitive[f].box);
    for (int k = 0; k < 3; ++k) {
      const float* v = vertices + 3 * faces[3 * f + k];
      float corner[4] = {v[0], v[1], v[2], 0};
      grow(primitive[f].box, corner, corner);
    }
  }
  Builder builder = {vertices, faces, primitive, (Node*)nodes, (Leaf*)leaves, 0, 0};
  make_node(builder, Range{0, (i32)count}, 0);
  return (i64)builder.leaf_count << 32 | builder.node_count;
}

// Moves the tree to other vertices of the same faces. Children come after their parents, so boxes are made from the end.
AC_API void closest_refit(const float* vertices, const i32* faces, i64 count, void* nodes, void* leaves) {
  Node* node = (Node*)nodes;
  Leaf* leaf = (Leaf*)leaves;
  for (i64 n = count - 1; n >= 0; --n)
    for (int i = 0; i < WIDE; ++i) {
      if (node[n].low[0][i] > node[n].high[0][i]) continue;  // no child
      Box box;
      i32 child = node[n].child[i];
      if (child < 0) {
        box = fill_leaf(leaf[~child], vertices, faces);
      } else {
        clear(box);
        for (int k = 0; k < WIDE; ++k)
          for (int d = 0; d < 3; ++d) {
            box.low[d] = ac_min(box.low[d], node[child].low[d][k]);
            box.high[d] = ac_max(box.high[d], node[child].high[d][k]);
          }
      }
      for (int d = 0; d < 3; ++d) node[n].low[d][i] = box.low[d], node[n].high[d][i] = box.high[d];
    }
}

AC_API void closest_query(const void* nodes, const void* leaves, const float* points, float reach2, float* distance2,
                          i64* face, float* bary, i64 begin, i64 end) {
  for (i64 i = begin; i < end; ++i)
    put_hit(tree_closest((const Node*)nodes, (const Leaf*)leaves, points + 3 * i, reach2), i, distance2, face, bary);
}

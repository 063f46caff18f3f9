// CPU shells of the closest point: building the tree, and queries over a half-open range.
#include "closest_point.h"

namespace {

struct Box {
  float low[3], high[3];
};

struct Builder {
  const float* vertices;
  const i32* faces;
  const Box* boxes;  // of each face
  i32* order;        // faces, rearranged while splitting
  Node* nodes;
  Leaf* leaves;
  i32 node_count, leaf_count;
};

struct Range {
  i32 begin, end;
};

void clear(Box& box) {
  for (int d = 0; d < 3; ++d) box.low[d] = FAR_AWAY, box.high[d] = -FAR_AWAY;
}

void grow(Box& box, const Box& other) {
  for (int d = 0; d < 3; ++d) {
    box.low[d] = ac_min(box.low[d], other.low[d]);
    box.high[d] = ac_max(box.high[d], other.high[d]);
  }
}

float area(const Box& box) {
  float x = box.high[0] - box.low[0], y = box.high[1] - box.low[1], z = box.high[2] - box.low[2];
  return x < 0 ? 0 : x * y + y * z + z * x;
}

float centre(const Box& box, int d) { return 0.5f * (box.low[d] + box.high[d]); }

int bin_of(float value, float low, float scale) {
  int bin = (int)((value - low) * scale);
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
}

// Splits a range in two by the cheapest of BINS planes along each axis; returns the middle.
i32 split(Builder& b, Range range) {
  Box centres;
  clear(centres);
  for (i32 i = range.begin; i < range.end; ++i)
    for (int d = 0; d < 3; ++d) {
      float c = centre(b.boxes[b.order[i]], d);
      centres.low[d] = ac_min(centres.low[d], c), centres.high[d] = ac_max(centres.high[d], c);
    }
  float best = FAR_AWAY, best_low = 0, best_scale = 0;
  int axis = -1, plane = 0;
  for (int d = 0; d < 3; ++d) {
    float extent = centres.high[d] - centres.low[d];
    if (!(extent > 1e-12f)) continue;
    float scale = BINS / extent;
    Box box[BINS];
    i32 count[BINS];
    for (int k = 0; k < BINS; ++k) clear(box[k]), count[k] = 0;
    for (i32 i = range.begin; i < range.end; ++i) {
      const Box& one = b.boxes[b.order[i]];
      int k = bin_of(centre(one, d), centres.low[d], scale);
      grow(box[k], one), ++count[k];
    }
    float right_area[BINS];
    i32 right_count[BINS];
    Box sum;
    clear(sum);
    i32 total = 0;
    for (int k = BINS - 1; k > 0; --k) {
      grow(sum, box[k]), total += count[k];
      right_area[k] = area(sum), right_count[k] = total;
    }
    clear(sum), total = 0;
    for (int k = 0; k + 1 < BINS; ++k) {
      grow(sum, box[k]), total += count[k];
      if (!total || !right_count[k + 1]) continue;
      float cost = area(sum) * total + right_area[k + 1] * right_count[k + 1];
      if (cost < best) best = cost, axis = d, plane = k, best_low = centres.low[d], best_scale = scale;
    }
  }
  i32 middle = (range.begin + range.end) / 2;
  if (axis < 0) return middle;
  i32 left = range.begin, right = range.end;
  while (left < right) {
    i32 face = b.order[left];
    if (bin_of(centre(b.boxes[face], axis), best_low, best_scale) <= plane) {
      ++left;
    } else {
      b.order[left] = b.order[--right];
      b.order[right] = face;
    }
  }
  return left > range.begin && left < range.end ? left : middle;
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
  for (int i = 0; i < WIDE; ++i) leaf.face[i] = b.order[range.begin + i < range.end ? range.begin + i : range.end - 1];
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
      if (part[i].end - part[i].begin > part[largest].end - part[largest].begin) largest = i;
    Range one = part[largest];
    if (one.end - one.begin <= WIDE) break;
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
      for (i32 k = part[i].begin; k < part[i].end; ++k) grow(box, b.boxes[b.order[k]]);
      node.child[i] = part[i].end - part[i].begin <= WIDE ? make_leaf(b, part[i]) : make_node(b, part[i], depth + 1);
    }
    for (int d = 0; d < 3; ++d) node.low[d][i] = box.low[d], node.high[d][i] = box.high[d];
  }
  b.nodes[index] = node;
  return index;
}

}  // namespace

AC_API i64 closest_node_bytes() { return sizeof(Node); }
AC_API i64 closest_leaf_bytes() { return sizeof(Leaf); }

// Builds the tree of `count` > 0 faces; returns the number of its nodes, and of its leaves in the upper half. boxes: 6
// floats a face; order: an i32 a face; nodes, leaves: room for one a face.
AC_API i64 closest_build(const float* vertices, const i32* faces, i64 count, float* boxes, i32* order, void* nodes,
                          void* leaves) {
  Box* box = (Box*)boxes;
  for (i64 f = 0; f < count; ++f) {
    order[f] = (i32)f;
    clear(box[f]);
    for (int k = 0; k < 3; ++k)
      for (int d = 0; d < 3; ++d) {
        float value = vertices[3 * faces[3 * f + k] + d];
        box[f].low[d] = ac_min(box[f].low[d], value), box[f].high[d] = ac_max(box[f].high[d], value);
      }
  }
  Builder builder = {vertices, faces, box, order, (Node*)nodes, (Leaf*)leaves, 0, 0};
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
  for (i64 i = begin; i < end; ++i) {
    Hit hit = tree_closest((const Node*)nodes, (const Leaf*)leaves, points + 3 * i, reach2);
    distance2[i] = hit.distance2;
    face[i] = hit.face;
    bary[3 * i] = 1 - hit.u - hit.v, bary[3 * i + 1] = hit.u, bary[3 * i + 2] = hit.v;
  }
}

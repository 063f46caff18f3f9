// CPU shells of linear blend skinning. A range is of blocks of vertices, or of parts: as many blocks each, so that sums
// over vertices do not depend on the number of threads.
#include "kinematics.h"
#include "skin.h"

static const int LANES = 16;  // sums of a corrective's gradient that are kept apart, so that they are one vector

static const int GROUP = 8;   // bodies for which a corrective is read once
static const int AHEAD = 4096 / sizeof(short);  // values that are asked for early: processors stop at the end of a page

static int group_size(const Skin& skin, i64 body) {
  return skin.bodies - body < GROUP ? (int)(skin.bodies - body) : GROUP;
}

static int block_size(const Skin& skin, i64 block) {
  i64 left = skin.vertices - block * SKIN_BLOCK;
  return left < SKIN_BLOCK ? (int)left : SKIN_BLOCK;
}

// rest[3][32] += four correctives.
template <class T>
static void add(const T* const* value, const float* c, float* __restrict rest) {
  const T *one = value[0], *two = value[1], *three = value[2], *four = value[3];
  for (int i = 0; i < SKIN_ENTRY; ++i) rest[i] += c[0] * one[i] + c[1] * two[i] + (c[2] * three[i] + c[3] * four[i]);
}

// rest[bodies][3][32]: a block's points with their correctives, four of them at a time. An animator's frame waits for
// these more than for all else: 9 MB of SMPL's come from memory, each for one body.
static void correct(const Skin& skin, i64 body, int bodies, i64 block, float (*rest)[SKIN_ENTRY]) {
  int size = block_size(skin, block);
  for (int b = 0; b < bodies; ++b) {
    const float* points = skin.points + (body + b) * skin.point_stride + 3 * block * SKIN_BLOCK;
    for (int i = 0; i < size; ++i)
      for (int d = 0; d < 3; ++d) rest[b][d * SKIN_BLOCK + i] = points[3 * i + d];
  }
  if (!skin.values) return;
  i32 end = skin.first[block + 1];
  for (i32 entry = skin.first[block]; entry < end; entry += 4) {
    const short* steps[4];
    for (int k = 0; k < 4; ++k) {
      steps[k] = skin.values + (i64)(entry + k < end ? entry + k : entry) * SKIN_ENTRY;
      for (int i = 0; i < SKIN_ENTRY; i += 32) __builtin_prefetch(steps[k] + AHEAD + i);
    }
    alignas(64) float value[4][SKIN_ENTRY];
    const float* values[4] = {value[0], value[1], value[2], value[3]};
    if (bodies > 1)
      for (int k = 0; k < 4; ++k)
        for (int i = 0; i < SKIN_ENTRY; ++i) value[k][i] = steps[k][i];
    for (int b = 0; b < bodies; ++b) {
      const float* coefficients = skin.coefficients + (body + b) * skin.feature_count;
      float c[4];
      for (int k = 0; k < 4; ++k) c[k] = entry + k < end ? coefficients[skin.features[entry + k]] : 0;
      if (bodies > 1)
        add(values, c, rest[b]);
      else
        add(steps, c, rest[b]);
    }
  }
}

// A block's matrices before its points: a vector that is read right after it was written holds up the processor.
static void blend(const Skin& skin, i64 body, i64 block, float (*matrices)[16]) {
  int size = block_size(skin, block);
  for (int i = 0; i < size; ++i) {
    i64 at = (block * SKIN_BLOCK + i) * skin.influences;
    skin_blend(skin.weights + at, skin.joints ? skin.joints + at : 0, (i32)skin.influences,
               skin.transforms + 16 * skin.joint_count * body, matrices[i]);
  }
}

template <bool INVERSE>
static void forward(const Skin& skin, float* out, i64 begin, i64 end) {
  for (i64 block = begin; block < end; ++block)
    for (i64 body = 0; body < skin.bodies; body += GROUP) {
      alignas(64) float rest[GROUP][SKIN_ENTRY] = {};
      int bodies = group_size(skin, body), size = block_size(skin, block);
      correct(skin, body, bodies, block, rest);
      for (int b = 0; b < bodies; ++b) {
        alignas(64) float matrices[SKIN_BLOCK][16];
        blend(skin, body + b, block, matrices);
        for (int i = 0; i < size; ++i) {
          float x[3] = {rest[b][i], rest[b][SKIN_BLOCK + i], rest[b][2 * SKIN_BLOCK + i]};
          float* to = out + 3 * ((body + b) * skin.vertices + block * SKIN_BLOCK + i);
          if (INVERSE)
            skin_unpoint(skin_invert(matrices[i]), matrices[i], x, to);
          else
            skin_point(matrices[i], x, to);
        }
      }
    }
}

AC_API void skin_points(const Skin* skin, float* out, i64 begin, i64 end) { forward<false>(*skin, out, begin, end); }
AC_API void skin_unpoints(const Skin* skin, float* out, i64 begin, i64 end) { forward<true>(*skin, out, begin, end); }

static const int FRAME_JOINTS = 256;

// An animator's frame: one body's pose [joints, 3] to its points, in one call. Each range makes the transforms and the
// coefficients that `still` has not, in microseconds. centres: of the joints at rest. steps: of the features, if any, which
// are the rotations of all joints but the first, without the identity. At most FRAME_JOINTS joints.
AC_API void skin_frame(const Skin* still, const float* centres, const i32* parents, const float* steps,
                       const float* pose, const float* transl, float* out, i64 begin, i64 end) {
  alignas(64) float transforms[16 * FRAME_JOINTS], coefficients[9 * FRAME_JOINTS];
  Skin skin = *still;
  kinematics_chain(pose, centres, parents, (i32)skin.joint_count, transl, transforms);
  for (i64 f = 0; f < skin.feature_count; f += 9) {
    double turn[9];
    kinematics_rotation(pose + 3 + f / 3, turn);
    for (int k = 0; k < 9; ++k) coefficients[f + k] = ((float)turn[k] - (k % 4 == 0)) * steps[f + k];
  }
  skin.transforms = transforms, skin.coefficients = coefficients;
  forward<false>(skin, out, begin, end);
}

// Of one block of one body at the points rest[3][32]. grad_rest[3][32]; the others are added to, grad_weights unless it
// is null.
template <bool INVERSE>
static void backward_block(const Skin& skin, i64 body, i64 block, const float* grad, const float* rest, float* grad_rest,
                           float* grad_weights, float* grad_transforms) {
  const float* transforms = skin.transforms + 16 * skin.joint_count * body;
  int size = block_size(skin, block);
  alignas(64) float matrices[SKIN_BLOCK][16];
  blend(skin, body, block, matrices);
  for (int i = 0; i < size; ++i) {
    i64 v = block * SKIN_BLOCK + i;
    float outer[16], grad_x[3], x[3] = {rest[i], rest[SKIN_BLOCK + i], rest[2 * SKIN_BLOCK + i]};
    const float* weights = skin.weights + v * skin.influences;
    const i32* joints = skin.joints ? skin.joints + v * skin.influences : 0;
    const float* own_grad = grad + 3 * (body * skin.vertices + v);
    if (INVERSE)
      skin_unpoint_backward(matrices[i], x, own_grad, grad_x, outer);
    else
      skin_point_backward(matrices[i], x, own_grad, grad_x, outer);
    for (int d = 0; d < 3; ++d) grad_rest[d * SKIN_BLOCK + i] = grad_x[d];
    for (i64 k = 0; k < skin.influences; ++k) {
      i64 joint = joints ? joints[k] : k;
      float* sums = grad_transforms + 16 * joint;
      for (int c = 0; c < 16; ++c) sums[c] += weights[k] * outer[c];
      if (grad_weights) grad_weights[v * skin.influences + k] += skin_dot(transforms + 16 * joint, outer);
    }
  }
}

// sums[bodies][features][LANES] += what each entry of the block adds to its feature's gradients.
static void backward_correctives(const Skin& skin, int bodies, i64 block, const float (*grad_rest)[SKIN_ENTRY],
                                 float* sums) {
  for (i32 entry = skin.first[block]; entry < skin.first[block + 1]; ++entry) {
    alignas(64) float value[SKIN_ENTRY];
    for (int i = 0; i < SKIN_ENTRY; ++i) value[i] = skin.values[(i64)entry * SKIN_ENTRY + i];
    for (int b = 0; b < bodies; ++b) {
      float* own = sums + (b * skin.feature_count + skin.features[entry]) * LANES;
      for (int lane = 0; lane < LANES; ++lane) {
        float total = own[lane];
        for (int i = 0; i < SKIN_ENTRY / LANES; ++i) total += value[i * LANES + lane] * grad_rest[b][i * LANES + lane];
        own[lane] = total;
      }
    }
  }
}

// All are zero before. grad_points: as points. grad_weights: may be null. grad_transforms: [parts, bodies, joints, 4, 4].
// grad_coefficients: [parts, bodies, features, LANES], or null.
template <bool INVERSE>
static void backward(const Skin& skin, const float* grad, i64 part_blocks, float* grad_points, float* grad_weights,
                     float* grad_transforms, float* grad_coefficients, i64 begin, i64 end) {
  i64 blocks = (skin.vertices + SKIN_BLOCK - 1) / SKIN_BLOCK;
  for (i64 part = begin; part < end; ++part) {
    i64 stop = (part + 1) * part_blocks < blocks ? (part + 1) * part_blocks : blocks;
    for (i64 block = part * part_blocks; block < stop; ++block)
      for (i64 body = 0; body < skin.bodies; body += GROUP) {
        i64 at = part * skin.bodies + body;
        alignas(64) float rest[GROUP][SKIN_ENTRY] = {}, grad_rest[GROUP][SKIN_ENTRY] = {};
        int bodies = group_size(skin, body), size = block_size(skin, block);
        correct(skin, body, bodies, block, rest);
        for (int b = 0; b < bodies; ++b) {
          backward_block<INVERSE>(skin, body + b, block, grad, rest[b], grad_rest[b], grad_weights,
                   grad_transforms + 16 * skin.joint_count * (at + b));
          float* points = grad_points + (body + b) * skin.point_stride + 3 * block * SKIN_BLOCK;
          for (int i = 0; i < size; ++i)
            for (int d = 0; d < 3; ++d) points[3 * i + d] += grad_rest[b][d * SKIN_BLOCK + i];
        }
        if (grad_coefficients)
          backward_correctives(skin, bodies, block, grad_rest, grad_coefficients + at * skin.feature_count * LANES);
      }
  }
}

AC_API void skin_points_backward(const Skin* skin, const float* grad, i64 part_blocks, float* grad_points,
                          float* grad_weights, float* grad_transforms, float* grad_coefficients, i64 begin, i64 end) {
  backward<false>(*skin, grad, part_blocks, grad_points, grad_weights, grad_transforms, grad_coefficients, begin, end);
}

AC_API void skin_unpoints_backward(const Skin* skin, const float* grad, i64 part_blocks, float* grad_points,
                                  float* grad_weights, float* grad_transforms, float* grad_coefficients, i64 begin,
                                  i64 end) {
  backward<true>(*skin, grad, part_blocks, grad_points, grad_weights, grad_transforms, grad_coefficients, begin, end);
}

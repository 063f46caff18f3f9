// Roots of forward skinning, d(x) = M(x) x = x_d, with M(x) a grid of 4x4 matrices mixed trilinearly: Broyden's good
// method from several starts (SNARF, Chen et al. 2021; voxels as in Fast-SNARF 2023). See broyden.py.
#pragma once
#include "skin.h"

struct Volume {
  i32 size[3];               // grid points along x, y, z; each at least 2
  float low[3], per_metre[3];  // grid coordinate = (x - low) per_metre, clamped to the grid
};

// matrix[16] at x; the grid is [z, y, x, 16]. NaN reads the first cell.
AC_HD void volume_lookup(const Volume& volume, const float* grid, const float* x, float* matrix) {
  i64 cell[3];
  float f[3];
  for (int d = 0; d < 3; ++d) {
    float last = (float)(volume.size[d] - 1);
    float at = ac_min(ac_max((x[d] - volume.low[d]) * volume.per_metre[d], 0.0f), last);
    i32 whole = (i32)at;
    cell[d] = whole < volume.size[d] - 2 ? whole : volume.size[d] - 2;
    f[d] = at - (float)cell[d];
  }
  const float* corner = grid + 16 * ((cell[2] * volume.size[1] + cell[1]) * volume.size[0] + cell[0]);
  i64 along_y = 16 * (i64)volume.size[0], along_z = along_y * volume.size[1];
  for (int i = 0; i < 16; ++i) matrix[i] = 0;
  for (int c = 0; c < 8; ++c) {
    const float* one = corner + ((c & 1) ? 16 : 0) + ((c & 2) ? along_y : 0) + ((c & 4) ? along_z : 0);
    float weight = ((c & 1) ? f[0] : 1 - f[0]) * ((c & 2) ? f[1] : 1 - f[1]) * ((c & 4) ? f[2] : 1 - f[2]);
    for (int i = 0; i < 16; ++i) matrix[i] += weight * one[i];
  }
}

// g = M(x) x - target; returns |g|^2.
AC_HD float broyden_residual(const float* matrix, const float* x, const float* target, float* g) {
  skin_point(matrix, x, g);
  for (int d = 0; d < 3; ++d) g[d] -= target[d];
  return g[0] * g[0] + g[1] * g[1] + g[2] * g[2];
}

// Searches from x, in place; true where |g| fell below `converged` metres within `steps`. Gives up beyond `diverged`.
AC_HD bool broyden_search(const Volume& volume, const float* grid, const float* target, i32 steps, float converged,
                          float diverged, float* x) {
  float matrix[16], j[9], g[3], dx[3], dg[3];
  volume_lookup(volume, grid, x, matrix);
  float inverse_volume = 1.0f / skin_cofactors(matrix, j);
  for (int i = 0; i < 9; ++i) j[i] *= inverse_volume;
  broyden_residual(matrix, x, target, g);
  for (i32 step = 0; step < steps; ++step) {
    for (int d = 0; d < 3; ++d) {
      dx[d] = -(j[3 * d] * g[0] + j[3 * d + 1] * g[1] + j[3 * d + 2] * g[2]);
      x[d] += dx[d];
      dg[d] = g[d];
    }
    volume_lookup(volume, grid, x, matrix);
    float error2 = broyden_residual(matrix, x, target, g);
    if (error2 < converged * converged) return true;
    if (!(error2 < diverged * diverged)) return false;
    float row[3], below = 0;
    for (int d = 0; d < 3; ++d) {
      dg[d] = g[d] - dg[d];
      row[d] = dx[0] * j[d] + dx[1] * j[3 + d] + dx[2] * j[6 + d];
      below += row[d] * dg[d];
    }
    float scale = 1.0f / (below + (below >= 0 ? 1e-6f : -1e-6f));
    for (int d = 0; d < 3; ++d) {
      float a = (dx[d] - (j[3 * d] * dg[0] + j[3 * d + 1] * dg[1] + j[3 * d + 2] * dg[2])) * scale;
      for (int c = 0; c < 3; ++c) j[3 * d + c] += a * row[c];
    }
  }
  return false;
}

// All starts of one point: roots [starts, 3]; state 0: no root, 1: a root found by an earlier start too, 2: a new root.
AC_HD void broyden_point(const Volume& volume, const float* grid, const float* target, const float* starts, i32 count,
                         i32 steps, float converged, float diverged, float apart, float* roots, unsigned char* state) {
  for (i32 s = 0; s < count; ++s) {
    float x[3];
    skin_point(starts + 16 * (i64)s, target, x);
    bool found = broyden_search(volume, grid, target, steps, converged, diverged, x);
    for (int d = 0; d < 3; ++d) roots[3 * s + d] = x[d];
    bool fresh = found;
    for (i32 k = 0; k < s && fresh; ++k) {
      if (state[k] != 2) continue;
      float a = roots[3 * k] - x[0], b = roots[3 * k + 1] - x[1], c = roots[3 * k + 2] - x[2];
      fresh = !(a * a + b * b + c * c < apart * apart);
    }
    state[s] = fresh ? 2 : found ? 1 : 0;
  }
}

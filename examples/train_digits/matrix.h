// The one dense kernel of the example: C += A * B, written so that the compiler vectorises it. Sums run in the order of
// k, four at a time, whatever the machine's vector width: same inputs, same bits.
#pragma once

#include <cstddef>

namespace digits {

// A matrix that may be read transposed: element (i, j) is data[i * row_stride + j * column_stride].
struct Strided {
  const float* data;
  std::size_t row_stride, column_stride;
};

// c[m x n] += a[m x k] * b[k x n]; b and c are dense, row by row.
void multiply_add(Strided a, const float* b, float* c, std::size_t m, std::size_t k, std::size_t n);

}  // namespace digits

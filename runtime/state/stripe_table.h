// StripeTable: the registered tensors of a member, cut into stripes. What two members compare before a byte moves, and how
// a stripe is named on the wire: by its number. A value; pure. Digests are XXH3 64 (xxHash).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/result.h"

namespace regroup::state {

inline constexpr std::uint32_t kStripeBytes = 256u << 10;  // read under a lock that the owner may wait for: short
inline constexpr std::uint32_t kMaxTensors = 65536;
inline constexpr std::uint32_t kMaxDims = 16;

struct Tensor {
  std::string name;
  DataType type = DataType::kU8;
  std::vector<std::uint64_t> shape;  // empty: one dimension of `bytes`
  std::uint64_t bytes = 0;
  bool operator==(const Tensor&) const = default;
};
// "float[3,4]", "uint8[100]"
[[nodiscard]] std::string describe(const Tensor& tensor);

struct Stripe {
  std::uint32_t tensor = 0;
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
};

class StripeTable {
 public:
  StripeTable() = default;
  explicit StripeTable(std::vector<Tensor> tensors, std::uint32_t stripe_bytes = kStripeBytes);
  [[nodiscard]] std::uint32_t size() const { return first_.empty() ? 0 : first_.back(); }
  [[nodiscard]] Stripe operator[](std::uint32_t i) const;  // i < size()
  [[nodiscard]] const std::vector<Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] std::uint64_t bytes() const;
  // Stripes that overlap `bytes` bytes from `offset` of a tensor: [first, last).
  struct Range {
    std::uint32_t first = 0, last = 0;
  };
  [[nodiscard]] Range overlapping(std::uint32_t tensor, std::uint64_t offset, std::uint64_t bytes) const;
  // kConfig names what differs: tensors on one side only, types, shapes (a few of them, and how many more).
  [[nodiscard]] Status compare(const StripeTable& theirs) const;

  void encode(Writer& out) const;
  static Result<StripeTable> decode(Reader& in);

 private:
  std::vector<Tensor> tensors_;
  std::vector<std::uint32_t> first_;  // stripe of each tensor, and the end
  std::uint32_t stripe_bytes_ = kStripeBytes;
};

[[nodiscard]] std::uint64_t digest_of(std::span<const std::byte> bytes);

}  // namespace regroup::state

// What a collective is: its kind and the descriptor that all members must agree on before anybody prepares. Pure
// values.
//
// An op whose shape is the membership ("shape op") fails with kViewChanged when the membership changes; the others are
// redone with the members that are left (PROTOCOL.md). Offsets and sizes are in bytes unless a name says elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/dtype.h"

namespace regroup {

// Values of the wire format: append only.
enum class OpKind : std::uint8_t {
  kAllReduce = 0,
  kBroadcast,
  kAllGather,
  kBarrier,
  kReduce,
  kReduceScatter,
  kAllToAll,
  kGather,
  kScatter,
  kAllGatherV,      // counts of all members, the same table everywhere
  kReduceScatterV,  // likewise
  kAllToAllV,       // from here on a member knows only what it gives and what it takes
  kGatherV,
  kScatterV,
  kSendRecv,  // every member gives one block to a member and takes one from a member, told likewise
};
inline constexpr int kOpKindCount = 15;
[[nodiscard]] const char* name_of(OpKind kind);

// What all members must agree on. `flags`: what is no part of the other fields.
struct OpDesc {
  static constexpr std::uint8_t kMark = 1;           // ends a step
  static constexpr std::uint8_t kScaled = 2;         // every member multiplies its input by a scalar of its own first
  static constexpr std::uint8_t kOutputScratch = 4;  // outputs may be written before the commit
  OpKind kind = OpKind::kBarrier;
  DataType type = DataType::kU8;
  ReduceOp reduce = ReduceOp::kSum;
  std::uint8_t flags = 0;
  std::uint32_t root = 0;        // replica id of the root, where there is one
  std::uint64_t count = 0;       // elements of one member's block; of the v forms: digest of the agreed table, or 0
  std::uint64_t seen_epoch = 0;  // shape ops only: the epoch that the caller last saw; 0 otherwise
  bool operator==(const OpDesc&) const = default;

  [[nodiscard]] bool mark() const { return (flags & kMark) != 0; }
  [[nodiscard]] bool scaled() const { return (flags & kScaled) != 0; }
  [[nodiscard]] bool output_scratch() const { return (flags & kOutputScratch) != 0; }
  [[nodiscard]] bool reduces() const {
    return kind == OpKind::kAllReduce || kind == OpKind::kReduce || kind == OpKind::kReduceScatter ||
           kind == OpKind::kReduceScatterV;
  }
  [[nodiscard]] bool rooted() const {
    return kind == OpKind::kBroadcast || kind == OpKind::kReduce || kind == OpKind::kGather ||
           kind == OpKind::kScatter || kind == OpKind::kGatherV || kind == OpKind::kScatterV;
  }
  [[nodiscard]] bool shape() const {
    return kind != OpKind::kAllReduce && kind != OpKind::kBroadcast && kind != OpKind::kBarrier &&
           kind != OpKind::kReduce;
  }
  // What peers give and take is known to each member for itself only: tables are exchanged and compared.
  [[nodiscard]] bool told() const {
    return kind == OpKind::kAllToAllV || kind == OpKind::kGatherV || kind == OpKind::kScatterV ||
           kind == OpKind::kSendRecv;
  }
  // Bytes of one member's block (not of the v forms).
  [[nodiscard]] std::size_t bytes() const { return count * size_of(type); }
};

namespace algo {

struct Span {  // of a buffer
  std::size_t at = 0;
  std::size_t bytes = 0;
  bool operator==(const Span&) const = default;
};

// Of the v forms. By index of the member in the view that the caller last saw (desc.seen_epoch).
struct Tables {
  std::vector<std::uint64_t> counts;  // elements a member, agreed (kAllGatherV, kReduceScatterV)
  std::vector<Span> give;             // of my input, for each member (told forms)
  std::vector<Span> take;             // into my output, from each member
};
using TablesPtr = std::shared_ptr<const Tables>;

// Digest of an agreed table, which travels as the descriptor's count.
[[nodiscard]] std::uint64_t digest_of(const std::vector<std::uint64_t>& counts);

}  // namespace algo
}  // namespace regroup

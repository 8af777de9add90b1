// History: what members did and saw, one record an event, as the checker judges it. Records come from the simulator, or
// are read from the flight recorders of a real run (which know no values; the checker then leaves out what needs them).
#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace regroup::sim {

// A symbolic payload: four bits of `counts` a contributing replica say how often it is in there, `tag` is the sum of a
// number that each (incarnation, op) has for itself. Adding is exact in any order. Up to 16 replicas.
struct Value {
  std::uint64_t counts = 0, tag = 0;
  bool operator==(const Value&) const = default;
  Value& operator+=(const Value& other) {
    counts += other.counts;
    tag += other.tag;
    return *this;
  }
};

// Spreads the bits of its arguments (the finalizer of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b = 0) {
  std::uint64_t z = a * 0x9e3779b97f4a7c15ull + b + 0x632be59bd9b4e019ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

enum class What : std::uint8_t {
  kSubmitted,  // an op got its number
  kPrepared,   // the whole result stands here
  kWedge,      // reported epoch frozen (op: prepared)
  kDurable,    // the view log holds the decision that makes epoch (op: trim)
  kInstall,    // entered epoch (op: trim)
  kCommitted,  // op is the caller's, with the members of epoch
  kFailed,     // a decision failed op
  kRestored,   // a joiner took the state as of op
  kEnded,      // this incarnation is over
  // Of message `op` between this incarnation and `peer`:
  kMessageSent,    // send returned: settled
  kMessageTaken,   // recv returned
  kMessageFailed,  // either, as `sends` says: the pair has ended
  kCount
};
[[nodiscard]] const char* name_of(What what);

struct Record {
  std::int64_t time_ns = 0;
  std::uint32_t life = 0;     // one incarnation
  std::uint32_t replica = 0;  // its member id
  What what = What::kSubmitted;
  OpId op = 0;
  Epoch epoch = 0;
  LogId log = 0;                   // 0: not known
  bool mark = false;               // submitted: it ends a step
  bool planned = false;            // durable: cut at a mark
  bool founded = false;            // durable: all members are new, and no step of theirs lies behind them
  bool untouched = true;           // failed: input and output are as they were
  Code code = Code::kOk;           // failed, ended
  OpId high = 0;                   // durable
  Epoch prev = 0;                  // durable: the epoch that it ends
  std::uint64_t decision = 0;      // durable, install: fingerprint of the decision
  std::uint64_t contributors = 0;  // committed: a bit a replica; 0: not known
  std::uint32_t divisor = 0;       // committed: what an average was divided by
  Value value, expected;           // committed, taken: what the caller got, and what the contributors gave
  std::uint32_t peer = 0;          // messages: the other life
  bool sends = false;              // messages: this end is the sender's
  std::uint64_t state = 0;         // restored: digest of the state
};

// One line of JSON, as `regroup check` reads it.
[[nodiscard]] std::string to_json(const Record& r);

}  // namespace regroup::sim

// Source: fuzz bytes as a script, read from the front: small numbers, choices, texts. Past its end everything is 0 and
// done() is true. Values are mostly small, so that numbers of one message meet those of another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "tests/fuzz/target.h"

namespace regroup::fuzz {

class Source {
 public:
  explicit Source(Input in) : in_(in) {}
  [[nodiscard]] bool done() const { return in_.empty(); }
  [[nodiscard]] Input rest() const { return in_; }

  std::uint8_t u8() {
    if (in_.empty()) return 0;
    const std::uint8_t v = in_.front();
    in_ = in_.subspan(1);
    return v;
  }
  bool flag() { return (u8() & 1) != 0; }
  std::uint32_t below(std::uint32_t n) { return u8() % n; }  // n <= 256
  std::uint16_t u16() {
    const std::uint16_t low = u8();
    return static_cast<std::uint16_t>(low | u8() << 8);
  }
  std::uint64_t u64() {
    std::uint64_t v = 0;
    for (int i = 0; i < 8; ++i) v |= std::uint64_t{u8()} << (8 * i);
    return v;
  }
  // One byte: 0 to 239 as it is; above, the values at which arithmetic turns.
  std::uint64_t number() {
    const std::uint8_t v = u8();
    if (v < 240) return v;
    if (v == 240) return u64();
    constexpr std::uint64_t edges[] = {UINT64_MAX,       UINT64_MAX - 1, 1ull << 63,
                                       (1ull << 63) - 1, 1ull << 32,     UINT32_MAX};
    return edges[v % std::size(edges)];
  }
  Input take(std::size_t n) {
    const Input head = in_.first(std::min(n, in_.size()));
    in_ = in_.subspan(head.size());
    return head;
  }
  std::string text(std::size_t max) { return text_of(take(std::min<std::size_t>(u8(), max))); }

 private:
  Input in_;
};

}  // namespace regroup::fuzz

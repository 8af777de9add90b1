// Control messages (ft/driver/codec.h). First byte: which of the three. What decode accepts, encode gives back byte for
// byte; what is refused is kRefused.
#include "ft/driver/codec.h"

#include <algorithm>

#include "tests/fuzz/source.h"

using namespace regroup;

namespace {

template <class T>
void check(const Result<T>& message, std::span<const std::byte> bytes) {
  if (message)
    RG_CHECK(std::ranges::equal(encode(*message), bytes));
  else
    RG_CHECK(message.code() == Code::kRefused && !message.error().detail.empty());
}

}  // namespace

FUZZ_TARGET(codec) {
  fuzz::Source source(in);
  const std::uint32_t kind = source.below(3);
  const auto bytes = fuzz::bytes_of(source.rest());
  if (kind == 0) check(decode_to_coordinator(bytes), bytes);
  if (kind == 1) check(decode_to_member(bytes), bytes);
  if (kind == 2) check(decode_decision(bytes), bytes);
}

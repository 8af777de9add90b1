// What joiners and holders say to each other (runtime/state/wire.h, stripe_table.h). First byte: which message the rest is.
// Held: what is decoded is within its bounds, and is encoded to bytes that say the same again.
#include <vector>

#include "runtime/state/stripe_table.h"
#include "runtime/state/wire.h"
#include "tests/fuzz/source.h"

using namespace regroup;
using namespace regroup::state;

namespace {

using Bytes = std::vector<std::byte>;

template <class Decode>
void round_trip(std::span<const std::byte> in, Decode decode) {
  const auto first = decode(in);
  if (!first) return;
  const Bytes said = encode(*first);
  const auto again = decode(said);
  RG_CHECK(again && encode(*again) == said && said.size() == in.size());
}

void entry(std::span<const std::byte> in) {
  std::uint64_t bytes = 0, again = 0;
  auto first = decode_entry(in, bytes);
  if (!first || bytes > 4096) return;
  first->data.resize(bytes);
  const Bytes said = encode_entry(*first);
  const auto second = decode_entry(said, again);
  RG_CHECK(second && again == bytes && second->op == first->op && second->code == first->code && said.size() == in.size());
}

void table(std::span<const std::byte> in) {
  Reader r(in);
  const auto first = StripeTable::decode(r);
  if (!first) return;
  Writer w;
  first->encode(w);
  RG_CHECK(w.bytes().size() <= in.size() && std::equal(w.bytes().begin(), w.bytes().end(), in.begin()));
  RG_CHECK(first->compare(*first).ok());
  std::uint64_t sum = 0;
  for (const Tensor& t : first->tensors()) sum += t.bytes;
  RG_CHECK(sum == first->bytes());
  if (first->size() == 0) return;
  const Stripe last = (*first)[first->size() - 1];
  RG_CHECK(last.bytes != 0 && last.offset + last.bytes == first->tensors()[last.tensor].bytes);
  const auto range = first->overlapping(last.tensor, last.offset, last.bytes);
  RG_CHECK(range.first == first->size() - 1 && range.last == first->size());
}

}  // namespace

FUZZ_TARGET(catch_up) {
  fuzz::Source source(in);
  const std::uint32_t which = source.below(7);
  const std::span<const std::byte> rest = fuzz::bytes_of(source.rest());
  switch (which) {
    case 0: return round_trip(rest, decode_take);
    case 1: return round_trip(rest, decode_get);
    case 2: return round_trip(rest, decode_told);
    case 3: return round_trip(rest, decode_follow);
    case 4: return round_trip(rest, decode_version);
    case 5: return entry(rest);
    default: return table(rest);
  }
}

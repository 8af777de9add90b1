// State transfers (runtime/state): a joiner fetches from a source that says anything. First byte: which buffers the
// joiner has; then steps: right frames of a transfer, frames with wrong numbers, bare bytes. And the serving side's
// opening. Held: nothing is written outside the buffers (ASan); what the fetch calls good is what a source has sent in
// right frames.
#include <sys/socket.h>

#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "runtime/state/state_server.h"
#include "runtime/state/stream.h"
#include "tests/fuzz/pair.h"
#include "tests/fuzz/source.h"

using namespace regroup;

namespace {

constexpr OpId kOp = 5;

struct Joiner {
  std::vector<std::vector<std::byte>> memory;
  std::vector<StateBuffer> state;
  explicit Joiner(std::uint8_t which) {
    for (std::size_t i = 0; i < which % 3u; ++i) memory.emplace_back(which / 3u * 6u * (i + 1));
    for (std::size_t i = 0; i < memory.size(); ++i) {
      StateBuffer b;
      b.name = std::string(1, i == 0 ? 'w' : 'v');
      b.data = memory[i].data();
      b.bytes = memory[i].size();
      state.push_back(b);
    }
  }
};

std::uint64_t digest_of(std::span<const std::byte> buffer) {  // of one chunk
  return buffer.empty() ? 0 : wire::checksum(buffer) * 0x9e3779b97f4a7c15ull;
}

void say(int fd, std::uint16_t type, std::span<const std::byte> payload, std::uint32_t chunk, std::uint64_t offset) {
  wire::Frame frame;
  frame.type = type, frame.group = wire::group_hash("g"), frame.op = kOp, frame.chunk = chunk, frame.offset = offset;
  wire::fill(frame, payload);
  wire::HeaderBytes header;
  wire::encode(frame, header);
  fuzz::feed(fd, header);
  fuzz::feed(fd, payload);
}

// The head of a source that has the joiner's buffers, but for one byte.
std::vector<std::byte> head(fuzz::Source& source, const Joiner& joiner) {
  Writer w;
  w.u64(source.number());
  w.u32(static_cast<std::uint32_t>(joiner.state.size()));
  for (const StateBuffer& b : joiner.state) w.text(b.name), w.u64(b.bytes);
  std::vector<std::byte> bytes = w.take();
  if (source.flag()) bytes[source.u8() % bytes.size()] ^= static_cast<std::byte>(source.u8());
  return bytes;
}

// What a source says, in advance. Gives the digests that were among it.
std::set<std::uint64_t> talk(fuzz::Source& source, int fd, const Joiner& joiner) {
  std::set<std::uint64_t> digests;
  for (int steps = 0; !source.done() && steps < 64; ++steps) {
    const std::uint8_t what = source.u8();
    switch (what % 6) {
      case 0: {
        const std::byte accept{2};
        say(fd, state::kAuth, {&accept, 1}, 0, 0);
        break;
      }
      case 1: say(fd, state::kHead, head(source, joiner), 0, 0); break;
      case 2: {  // a whole buffer of zeros, and its digest
        const std::size_t i = (what >> 4) % std::max<std::size_t>(joiner.state.size(), 1);
        if (i >= joiner.state.size()) break;
        const std::vector<std::byte> zeros(joiner.state[i].bytes);
        if (!zeros.empty()) say(fd, state::kChunk, zeros, static_cast<std::uint32_t>(i), 0);
        Writer w;
        w.u64(digest_of(zeros) ^ (what % 64 == 62 ? 1 : 0));
        digests.insert(Reader(w.bytes()).u64());
        say(fd, state::kDigest, w.bytes(), 0, 0);
        break;
      }
      case 3: {
        const auto type = static_cast<std::uint16_t>(source.below(8));
        const auto payload = fuzz::bytes_of(source.take(source.u8()));
        if (type == state::kDigest) digests.insert(Reader(payload).u64());
        say(fd, type, payload, source.u8(), source.number());
        break;
      }
      case 4:
        fuzz::feed(fd, fuzz::bytes_of(source.take(source.u8() % wire::kHeaderBytes)));
        break;  // never a whole frame
      case 5: say(fd, state::kFailed, fuzz::bytes_of(source.take(source.u8())), 0, 0); break;
    }
  }
  ::shutdown(fd, SHUT_WR);
  return digests;
}

}  // namespace

FUZZ_TARGET(state_stream) {
  fuzz::Source source(in);
  const std::uint8_t which = source.u8();
  const bool serving = (which & 128) != 0, secret = (which & 64) != 0;
  Joiner joiner(which & 63);
  for (auto& m : joiner.memory) std::fill(m.begin(), m.end(), std::byte{0xee});
  fuzz::Pair pair;
  const std::set<std::uint64_t> digests = talk(source, pair.a.get(), joiner);
  const Instant deadline = now() + Duration::from_s(5);
  if (serving) {
    state::Stream stream(std::move(pair.b), "g", secret ? "s" : "", deadline, nullptr);
    wire::Frame request;
    if (stream.open_as_server()) (void)stream.expect(state::kRequest, request, 0);
    return;
  }
  const auto served =
      state::fetch_over(std::move(pair.b), "g", secret ? "s" : "", kOp, joiner.state, deadline, nullptr);
  RG_CHECK(served.ok() || served.code() != Code::kTimeout);  // the source has ended: nothing is waited for
  if (!served) return;
  RG_CHECK(!secret);
  for (const auto& m : joiner.memory) RG_CHECK(digests.contains(digest_of(m)));
}

// Framing of data connections (transport/tcp/framed.h): two ends of one socket. One sends frames, small and large, in
// any portions; between them the script may put bytes of a stranger. The other end places, discards, holds and refuses
// as the script says, gives memory back in the middle of a payload, and reads with small budgets. Held: while nobody
// else wrote, every frame arrives once, in order, with its bytes; nothing is written into memory that was taken back
// (ASan); after kClosed there is a reason.
#include "transport/tcp/framed.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "tests/fuzz/pair.h"
#include "tests/fuzz/source.h"

using namespace regroup;
using namespace regroup::tcp;

namespace {

constexpr std::uint32_t kMaxPlaced = 64u << 10;

struct Sent {
  wire::Frame frame;
  std::vector<std::byte> payload;
};

class Sender final : public FrameUser {
 public:
  Placement place(const wire::Frame&) override { return {}; }
  bool arrived(const wire::Frame&) override { return false; }
  bool next(Outgoing& out) override {
    if (queue.empty()) return false;
    pulled.push_back(std::move(queue.front()));
    queue.pop_front();
    out = {pulled.back().frame, pulled.back().payload.data()};
    return true;
  }
  bool flushed() override { return pause; }
  std::deque<Sent> queue, pulled;  // pulled: until the other end has seen them
  bool pause = false;
};

class Receiver final : public FrameUser {
 public:
  explicit Receiver(Sender& from) : from_(from) {}
  Placement place(const wire::Frame& frame) override {
    const std::uint8_t word = words.u8();
    if (word % 8 == 7) return {Take::kHold, nullptr};
    if (word % 64 == 6) return refused = true, Placement{};
    if (word % 8 == 5 || frame.length > kMaxPlaced) return skip(), Placement{Take::kDiscard, nullptr};
    room = std::make_unique<std::byte[]>(frame.length);
    return {Take::kInto, room.get()};
  }
  bool arrived(const wire::Frame& frame) override {
    const std::span<const std::byte> got(room.get(), frame.length);
    RG_CHECK(wire::checksum(got) == frame.payload_sum);
    if (!strangers) {
      RG_CHECK(seen_ < from_.pulled.size());
      const Sent& sent = from_.pulled[seen_++];
      RG_CHECK(sent.frame == frame);
      RG_CHECK(sent.payload.empty() || std::memcmp(sent.payload.data(), got.data(), got.size()) == 0);
    }
    room.reset();
    return true;
  }
  bool next(Outgoing&) override { return false; }
  void skip() { seen_ += !strangers; }
  [[nodiscard]] std::size_t seen() const { return seen_; }

  fuzz::Source words{{}};
  std::unique_ptr<std::byte[]> room;
  bool strangers = false, refused = false;

 private:
  Sender& from_;
  std::size_t seen_ = 0;
};

Sent made(fuzz::Source& source, std::size_t size) {
  Sent sent;
  sent.frame.type = source.u8();
  sent.frame.op = source.number();
  sent.frame.offset = source.number();
  sent.payload.resize(size);
  std::fill(sent.payload.begin(), sent.payload.end(), static_cast<std::byte>(source.u8()));
  wire::fill(sent.frame, sent.payload);
  return sent;
}

void stranger(fuzz::Source& source, int fd) {
  if (source.flag()) {  // a frame of its own making
    wire::Frame frame;
    frame.type = source.u8();
    const auto payload = fuzz::bytes_of(source.take(source.u8()));
    wire::fill(frame, payload);
    if (source.flag()) frame.payload_sum ^= source.u8();
    if (source.flag()) frame.length = static_cast<std::uint32_t>(source.number());
    wire::HeaderBytes header;
    wire::encode(frame, header);
    fuzz::feed(fd, header);
    fuzz::feed(fd, payload);
  } else {
    fuzz::feed(fd, fuzz::bytes_of(source.take(source.u8())));
  }
}

}  // namespace

FUZZ_TARGET(framed) {
  fuzz::Source source(in);
  fuzz::Pair pair;
  const int raw = pair.a.get();
  std::vector<std::byte> scratch(4096);
  Sender sender;
  Receiver receiver(sender);
  Framed from(std::move(pair.a)), to(std::move(pair.b));
  Io io = Io::kIdle;
  for (int steps = 0; !source.done() && steps < 200 && io != Io::kClosed; ++steps) {
    const std::uint8_t what = source.u8();
    switch (what % 8) {
      case 0: sender.queue.push_back(made(source, source.u8())); break;
      case 1: sender.queue.push_back(made(source, std::size_t{source.u8()} * 250)); break;  // beside the gathered ones
      case 2:
        sender.pause = (what & 64) != 0;
        from.unblock();
        (void)from.write(sender, source.below(64) * std::size_t{1024});
        break;
      case 3:
      case 4:
        receiver.words = fuzz::Source(source.take(source.below(8)));
        io = to.read(receiver, source.u16(), scratch);
        break;
      case 5:
        if (receiver.room) receiver.skip();
        to.discard_current();
        receiver.room.reset();
        break;
      case 6:
        from.detach_payload();
        for (Sent& s : sender.pulled) s.payload = std::vector<std::byte>(s.payload);  // the same bytes, elsewhere
        break;
      case 7:
        receiver.strangers = true;
        stranger(source, raw);
        break;
    }
  }
  // What is still on its way arrives, unless somebody else has written, or the reader has refused.
  for (int turns = 0; turns < 10'000 && io != Io::kClosed; ++turns) {
    receiver.words = fuzz::Source({});
    sender.pause = false;
    from.unblock();
    const Io out = from.write(sender, 1u << 20);
    io = to.read(receiver, 1u << 20, scratch);
    if (out == Io::kIdle && io == Io::kIdle) break;
  }
  if (io == Io::kClosed)
    RG_CHECK(!to.reason().empty() && to.fault() != Framed::Fault::kNone && (receiver.strangers || receiver.refused));
  else if (!receiver.strangers)
    RG_CHECK(sender.queue.empty() && receiver.seen() == sender.pulled.size());
}

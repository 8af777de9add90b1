// NetDevice: carries out a direct plan on device buffers at one member: where received bytes go, what may be sent next, what is
// to be folded. No sockets: NetPlane moves the frames; tests move them by hand.
//
// What comes lands in memory taken for this op, and goes on only by steps of the port's stream: to be folded, or copied to the
// result. A digest is made of every chunk before it is sent and after it has come (the frame's payload_sum). So the result holds
// nothing of a peer's that was not compared, and whoever still fetches into that memory when the epoch is over (Lanes::late)
// can harm nothing: the memory rests with the lanes. Peers read my input and what I placed, never the other way round.
// Ownership: shares the port; memory of the op until the next begin() or drop(). Threading: the holder of the execution token.
// Never trusts a frame: place() checks order and bounds.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "runtime/algo/plan.h"
#include "runtime/exec/device_port.h"
#include "transport/tcp/conn.h"

namespace regroup {

class NetDevice {
 public:
  // `patience`: for bytes that are not seen as they were sent.
  explicit NetDevice(std::shared_ptr<DevicePort> port, Duration patience = Duration::from_ms(50)) : port_(std::move(port)), patience_(patience) {}
  ~NetDevice() { port_->forget(this, std::move(memory_)); }
  NetDevice(const NetDevice&) = delete;
  NetDevice& operator=(const NetDevice&) = delete;

  struct Job {  // all that it points to stays until the next one, or drop()
    OpDesc desc;
    const algo::Plan* plan = nullptr;
    std::size_t self = 0, members = 0;
    const std::byte* in = nullptr;
    std::byte* result = nullptr;
  };
  // Memory of the port that an op takes.
  static std::size_t memory_for(const algo::Plan& plan, std::size_t self, std::size_t members);
  Status begin(Job job);
  // Nothing of the op is wanted any more. Memory that its frames were placed in.
  std::shared_ptr<std::byte> drop();

  // Where the payload goes (`input`: of the peer's input, else of what it placed); nullptr: not what must come next.
  [[nodiscard]] std::byte* place(std::size_t peer, bool input, const wire::Frame& frame) const;
  void arrived(std::size_t peer, bool input, const wire::Frame& frame);
  // The next chunk for this peer: offset, chunk, length, sum and payload of the frame. False: nothing stands.
  bool next(std::size_t peer, bool input, tcp::Outgoing& out);
  [[nodiscard]] bool unsent(std::size_t peer) const;

  // Queues what can be queued, hears what is over. True: something was.
  Result<bool> turn();
  [[nodiscard]] bool busy() const { return !port_->idle(); }  // the device is at work
  [[nodiscard]] bool placed() const { return made_ == placed_bytes_; }  // all that I place stands
  [[nodiscard]] bool complete() const;                                  // and all of my result
  // A peer whose bytes are not those that it sent.
  [[nodiscard]] std::optional<std::size_t> corrupt() const { return corrupt_; }

 private:
  struct Range {  // that peers are sent of
    const std::byte* from = nullptr;
    std::size_t bytes = 0, chunk = 1;
    bool mine = true;        // it stands from the beginning; else as far as what I place does
    std::size_t at = 0;      // then, where in that
    std::size_t summed = 0;  // bytes: digests of so much were asked for
    std::vector<std::uint64_t> sums;  // of chunks that may be sent
  };
  struct Out {
    Range* range = nullptr;  // null: nothing
    std::size_t sent = 0;
  };
  struct In {  // a range of a peer's
    std::byte* landing = nullptr;
    std::byte* to = nullptr;  // where it is copied; null: it is folded from where it landed
    std::size_t bytes = 0, got = 0, whole = 0;
  };
  struct Peer {
    Out input, result;
    In inputs, results;
  };
  struct Came {  // a chunk that is not compared yet
    std::size_t peer = 0;
    In* in = nullptr;
    std::size_t at = 0, bytes = 0;
    std::uint64_t sum = 0;
    Instant looked = Instant::never();  // first
  };
  void lay_out();
  Status sum(Range& range);
  Status check();
  Status make();
  [[nodiscard]] const std::byte* placed_at(std::size_t at) const;

  const std::shared_ptr<DevicePort> port_;
  const Duration patience_;
  Job job_;
  std::shared_ptr<std::byte> memory_;
  std::vector<Peer> peers_;
  std::deque<Range> ranges_;
  std::deque<Came> came_;
  const algo::Piece* foreign_ = nullptr;  // the piece that I make of others' inputs, if any
  std::byte* placed_ = nullptr;
  std::size_t placed_bytes_ = 0, asked_ = 0, made_ = 0, chunk_ = 1;  // of what I place: queued, stands
  std::size_t own_ = 0;  // bytes of my own block that stand in the result
  std::optional<std::size_t> corrupt_;
};

}  // namespace regroup

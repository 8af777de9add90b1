// NetPlane: the ops of a view over TCP links (DATA_PATH.md). Executes any algo::Plan, by what it says of me:
//
// Small ops ("small"): every member sends its whole input beside the descriptor, everybody makes its output from them.
// Routed ops ("ring", "doubling", "gather"): hops of an algo::Route, carried out by a NetRoute in own staging and scratch.
// Large ops ("direct"): ranges of my input go to those who fold them, then what each placed goes to those who need it,
// in chunks as they stand; prepared when my whole output stands in own staging. A block that is placed as a copy is
// sent from the caller's input, which stays until the commit. Received bytes only ever go to own staging. Nothing large
// is sent to a peer before its descriptor is here, so nothing of an op stands in a link in front of a member that has
// not begun it; early descriptors are set aside. One op is exchanged at a time; the outputs of those that are prepared
// wait in staging for their commit. `prepared` goes to all peers, or among many members is passed on (net_prepared.cc).
// Small and direct fold in ShmPlane's order: the same bits. Upholds G1 G2 G7 G8 on the data side.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ft/core/view.h"
#include "runtime/algo/choice.h"
#include "runtime/exec/net_device.h"
#include "runtime/exec/net_pairs.h"
#include "runtime/exec/net_route.h"
#include "runtime/exec/net_staging.h"
#include "runtime/exec/plane.h"
#include "transport/tcp/link_set.h"

namespace regroup {

class NetPlane final : public Plane, private tcp::LinkUser {
 public:
  struct Config {
    std::size_t staging_bytes = std::size_t{1} << 30;
    algo::Rules rules;  // the same at every member
    std::function<bool(const OpDesc&)> elsewhere = {};  // ops that may be carried out elsewhere: direct, if they are not
  };
  // Enters the view on the links. kRefused: a member's address cannot be read.
  static Result<std::unique_ptr<NetPlane>> open(tcp::LinkSet& links, NetStaging& staging, const View& view,
                                                std::size_t self, Config config);
  ~NetPlane() override;

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override;
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override;
  void copy_out(ExecOp& op) override;
  void release(OpId op) override;
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override;
  void enter(const PairBook& book) override { pairs_.enter(book); }
  bool pump() override;
  void fence() override { leave(); }
  [[nodiscard]] const char* name() const override { return links_.name(); }
  // For HybridPlane. Begins a hierarchical op: tells everybody its descriptor, compares theirs. No byte of its input is looked at
  // before run(), which only leaders call for such an op, with what their host has folded.
  RunResult declare(ExecOp& op, ExecContext& context);
  // Serves the links without waiting, while the op at hand is elsewhere. A result: a descriptor differs, or a link is broken.
  std::optional<RunResult> serve();
  // Serves the links until `done`, which is asked again and again; often, if nothing wakes us of it. What ended it else: a broken
  // link, as run().
  RunResult await(ExecContext& context, const std::function<bool()>& done, bool often = false);
  // For NcclPlane (net_elsewhere.cc). Begins an op, telling all its descriptor and `ready`, a number of the caller's own.
  RunResult declare(ExecOp& op, ExecContext& context, std::uint32_t ready);
  // All descriptors are here and the same, mine is told. Calls `meanwhile` now and then; true: it stops here (kStopped).
  RunResult await_declared(ExecContext& context, const std::function<bool()>& meanwhile);
  [[nodiscard]] bool all_ready(std::uint32_t number) const;
  // The declared op is carried out elsewhere, its output is put here; else run() goes on with it.
  std::span<std::byte> give_away();
  // For NetDevicePlane (net_elsewhere.cc): frames of ops that `device` carries out go from and to memory there.
  void use(NetDevice& device) { device_ = &device; }
  // The op goes in the direct form, which is what a device can carry out.
  [[nodiscard]] bool direct(const ExecOp& op) const;
  // Begins a direct op, telling all which kind of device memory my buffers lie in, or 0. All the same: the op is carried out there,
  // from the moment that this is known, whoever drives what; one other: here, which is known as soon as that one is.
  enum class Where : std::uint8_t { kUnknown, kHere, kThere };
  RunResult declare(ExecOp& op, ExecContext& context, std::uint32_t kind, Stage::There there);
  [[nodiscard]] Where where() const { return where_; }
  RunResult await_where(ExecContext& context);
  // The op that is carried out there, to its end; else run() goes on with it.
  RunResult run_there(ExecContext& context);
  // Shown before `prepared` is told; a peer's `prepared` of that op counts when its digest is here.
  void show_digest(OpId op, std::uint64_t digest);
  // Bytes to a peer, at most 4 KiB, within the epoch.
  void tell(std::size_t peer, std::vector<std::byte> letter) { peers_[peer].letters.push_back(std::move(letter)); }
  void on_letter(std::function<void(std::size_t, std::span<const std::byte>)> heard) { heard_ = std::move(heard); }
  // The output of a prepared op that was run here.
  [[nodiscard]] const std::byte* output_of(OpId op) const;

 private:
  void decide();
  [[nodiscard]] std::optional<RunResult> device_broken() const;
  bool produce_there(bool& whole);
  static constexpr std::size_t kDescBytes = 32;
  static constexpr std::size_t kMaxEarly = 64;
  enum Type : std::uint16_t { kReady = tcp::kFirstUserType, kInput, kResult, kPrepared, kHop, kDigest, kLetter };
  static constexpr std::size_t kMaxLetter = 4096;
  struct Early {  // descriptor of an op that has not begun here
    OpId op = 0;
    bool whole = false;
    std::vector<std::byte> ready;
    std::uint32_t number = 0;
  };
  struct Digest {
    OpId op = 0;
    std::uint64_t digest = 0;
  };
  struct PeerState {
    bool ready_sent = false, ready_seen = false;
    bool same = false;             // its descriptor equals mine, its table fits mine
    std::uint32_t number = 0;      // that came with its descriptor
    std::vector<std::byte> ready;  // descriptor, then the input of a small op, the table of a told one, a small hop
    std::vector<std::byte> parcel;  // my descriptor with a small hop, while it is sent
    std::deque<Early> early;
    NetStaging::Block input;                    // its part of what I fold
    std::size_t input_sent = 0, input_got = 0;  // bytes
    std::size_t result_sent = 0, result_got = 0;
    OpId prepared_sent = 0, prepared_seen = 0;
    OpId prepared_due = 0;       // what it is to be told
    std::vector<Digest> digests;             // its own, of ops that are not committed here
    std::deque<Digest> digests_due;
    std::deque<std::vector<std::byte>> letters;  // all of the epoch: they are sent from here
    std::size_t letters_sent = 0;
    std::vector<std::byte> letter;           // that is arriving
    std::uint32_t relayed = 0;   // told of myself and so many members before me (0: it is not told by me)
  };
  struct Output {  // of an op that is prepared or about to be
    OpId op = 0;
    std::size_t bytes = 0;
    NetStaging::Block block;
  };

  void leave();
  NetPlane(tcp::LinkSet& links, NetStaging& staging, std::size_t self, const std::vector<tcp::Peer>& peers, Config config);
  // tcp::LinkUser (net_plane_frames.cc)
  tcp::Placement place(std::size_t peer, const wire::Frame& frame) override;
  bool arrived(std::size_t peer, const wire::Frame& frame) override;
  bool next(std::size_t peer, tcp::Outgoing& out) override;
  bool flushed(std::size_t peer) override;
  tcp::Placement place_ready(PeerState& p, const wire::Frame& frame);
  bool take_ready(std::size_t peer);
  bool take_parcel(std::size_t peer);
  bool next_ready(std::size_t peer, tcp::Outgoing& out);
  bool take_early(std::size_t peer);
  bool send_input(std::size_t peer, tcp::Outgoing& out);
  bool send_result(std::size_t peer, tcp::Outgoing& out);
  [[nodiscard]] std::size_t unsent() const;
  void lay_ways();
  bool place_aside(PeerState& p, const wire::Frame& frame, tcp::Placement& placement);
  bool arrived_aside(std::size_t peer, const wire::Frame& frame);
  bool next_aside(PeerState& p, tcp::Outgoing& out);
  OpId observe_digests(PeerState& p, CommitCounter& counter);
  void tell_prepared();
  bool hear_prepared(std::size_t peer, const wire::Frame& frame);

  algo::Form plan_for(const ExecOp& op, algo::Plan& plan) const;
  RunResult begin(ExecOp& op, ExecContext& context);
  bool reserve(NetStaging::Block& block, std::size_t bytes);
  bool produce(ExecContext& context);  // makes what can be made of what has come; true: something was done
  bool make_small();
  bool make_placed();
  [[nodiscard]] bool complete() const;
  [[nodiscard]] bool complete_route() const;
  [[nodiscard]] bool routed() const { return algo::routed(form_); }
  [[nodiscard]] bool tells(std::size_t peer) const { return form_ == algo::Form::kHierarchical || hops_.tells(peer); }
  [[nodiscard]] std::optional<RunResult> mismatch() const;
  [[nodiscard]] std::optional<RunResult> broken() const;
  template <class Done>
  RunResult pump_until(ExecContext& context, Done done, bool often = false);
  // Of the op at hand.
  [[nodiscard]] const algo::Piece* foreign() const;              // the piece that I make of others' inputs, if any
  [[nodiscard]] std::size_t input_from(std::size_t peer) const;  // bytes of its input that I need
  [[nodiscard]] std::size_t stands() const;                      // bytes of my placed ones that may be sent
  [[nodiscard]] const std::byte* placed_at(std::size_t at) const;

  tcp::LinkSet& links_;
  NetStaging& staging_;
  std::size_t self_;
  bool left_ = false, late_ = false;  // the links; and bytes may come late
  bool crowded_ = false;  // more members on this host than cores
  std::vector<PeerState> peers_;
  Config config_;
  NetPairs pairs_;
  std::vector<Output> outputs_;
  std::vector<std::uint32_t> leaders_;  // hybrid views: the first member of each host
  [[nodiscard]] bool leads() const { return std::find(leaders_.begin(), leaders_.end(), self_) != leaders_.end(); }
  // The op at hand.
  OpId active_ = 0;
  OpDesc desc_;
  bool planned_ = false;
  std::size_t root_ = 0;
  algo::TablesPtr tables_;
  algo::Plan plan_;
  const std::byte* in_ = nullptr;
  algo::Form form_ = algo::Form::kDirect;
  bool small_ = false;  // form_ == kSmall
  algo::Route route_;
  NetRoute hops_;
  std::byte* out_ = nullptr;     // staging of the whole output
  std::byte* placed_ = nullptr;  // what I make of others' inputs: its place in the output, or spare_
  NetStaging::Block spare_, scaled_, scratch_;
  std::size_t made_ = 0;             // bytes of that which stand
  std::size_t kept_ = 0;             // bytes of my own block that stand in the output
  std::size_t chunk_ = 0;            // of what I place: folded, summed and sent on at a time
  std::vector<std::uint64_t> sums_;  // checksums of its chunks, once for all peers
  bool folded_ = false;              // small, gather: the output stands
  bool held_ = false;                // declared; my host is still folding, or it is not known yet who carries it out
  NetDevice* device_ = nullptr;      // of every op
  bool asks_ = false;                // where it is carried out
  Where where_ = Where::kUnknown;
  Stage::There offered_;
  bool there_ = false;               // on the device
  Status device_trouble_;
  bool first_out_ = false, first_told_ = false, placed_told_ = false;
  std::uint32_t number_ = 0;         // told with my descriptor
  std::vector<Digest> shown_;        // of ops that are not committed here
  std::function<void(std::size_t, std::span<const std::byte>)> heard_;
  OpId announce_ = 0, released_ = 0;  // my `prepared` as told
  std::vector<std::byte> ready_out_;
  std::vector<const void*> sources_;
};

}  // namespace regroup

// NcclKeeper: the communicators of one member, over all epochs: the one of this epoch while it is made and used, the
// last one while it may still be shrunk, and those that were put aside until nothing can write into their memory any
// more.
//
// The first member of a view leads: it names attempts (number, shrink or rebuild, unique id) in letters to the others;
// each makes its end in the background and reports; what failed at one is followed by another attempt, a rebuild, later
// each time. A member uses the communicator of an attempt when it has said that it is ready and has heard the same of
// all (NcclPlane). What was put aside is freed when its abort has returned and every member of it has ended it too: who
// is in the view, whose process is known to be dead (here, or to a member that is asked and lives where it did), and who
// was evicted and has come back, which tells once its own aborts have returned. Ownership: owns all that. The planes of
// its epochs point here. Threading: the holder of the execution token. Nothing waits but the destructor, which is
// bounded. After a failure: ready() is 0 and the links carry the ops; lost() says that an abort did not return, so that
// this process cannot be trusted to leave memory alone.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "ft/core/view.h"
#include "runtime/exec/nccl_letter.h"
#include "runtime/exec/nccl_room.h"
#include "transport/nccl/communicator.h"

namespace regroup {

class NcclKeeper {
 public:
  struct Config {
    nccl::LibraryPtr library;
    std::shared_ptr<device::Device> device;
    Duration limit = Duration::from_s(10);  // of making a communicator, of a collective, of an abort, each
    std::function<bool(const MemberInfo&)> known_dead;  // certain; false also where it cannot be told from here
  };
  struct Outgoing {
    std::size_t to;
    std::vector<std::byte> letter;
  };
  struct Made {  // a communicator and all that is its own
    std::unique_ptr<nccl::Communicator> comm;
    std::shared_ptr<NcclRoom> room;
    std::vector<MemberInfo> members;
    NcclKey key;
    bool shrunk = false;  // made by a shrink
    bool used = false;
  };
  struct Counters {  // for tests and status
    std::uint64_t shrunk = 0, rebuilt = 0, failed = 0, freed = 0;
  };

  explicit NcclKeeper(Config config);
  ~NcclKeeper();
  NcclKeeper(const NcclKeeper&) = delete;
  NcclKeeper& operator=(const NcclKeeper&) = delete;

  void enter(const View& view, std::size_t self);
  void leave(Epoch epoch);  // of that epoch nothing is used any more; nothing if another was entered
  // What happened since; what is to be told.
  void step();
  [[nodiscard]] std::vector<Outgoing> take_letters() { return std::move(letters_); }
  void heard(std::size_t from, std::span<const std::byte> letter);
  // Something is under way that wants step().
  [[nodiscard]] bool busy() const;

  // The attempt whose communicator can be used here; 0: none.
  [[nodiscard]] std::uint32_t ready() const { return ready_; }
  Made& made() { return *now_; }
  void failed(const std::string& why);  // the one of this epoch
  void stop(const std::string& why);    // NCCL is not used again
  [[nodiscard]] bool lost() const;
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] std::size_t aside() const { return aside_.size(); }

 private:
  enum class Report : std::uint8_t { kNone, kOk, kFailed };
  [[nodiscard]] bool leads() const { return self_ == 0; }
  [[nodiscard]] std::vector<int> missing_from(const Made& made) const;  // its ranks that are not in the view
  [[nodiscard]] bool can_shrink() const;
  void lead();
  void propose(const NcclBegin& begin);
  void begin(const NcclBegin& begin);
  void report(bool ok, const std::string& why);
  void put_aside(std::unique_ptr<Made> made);
  [[nodiscard]] bool harmless(const MemberInfo& member) const;
  void free_what_can_be();
  void ask_for_the_rest();

  Config config_;
  std::shared_ptr<NcclRooms> rooms_;
  View view_;
  std::size_t self_ = 0;
  bool entered_ = false;
  std::uint32_t attempt_ = 0, ready_ = 0;
  bool reported_ = true;
  std::unique_ptr<Made> now_, last_;
  std::deque<std::unique_ptr<Made>> aside_;
  std::vector<Outgoing> letters_;
  std::deque<Incarnation> was_;     // my own before this one, the last few
  std::set<Incarnation> ended_;     // members of what is aside of which that was told
  Instant look_at_{}, ask_at_{};
  int asked_ = 0;  // in this epoch
  std::string stopped_;
  Counters counters_;
  // Leader.
  std::vector<Report> reports_;
  bool settled_ = false;  // this attempt has ended, one way or the other
  Instant answered_by_{}, retry_at_{};
  int failures_ = 0;  // in a row
  nccl::Caller id_caller_;
  nccl::Caller::Call id_call_;
  std::shared_ptr<nccl::MadeId> id_;
  Instant id_by_{};
};

}  // namespace regroup

// CheckpointDir: a folder with the checkpoints of one job, which members write in turn, at the same time too and on several
// hosts. A checkpoint is written aside, on the disk, and then named; `latest` holds the name of the newest and is replaced in
// one piece, never by an older one. The one before it is kept as well. After any failure or kill `latest` is as it was.
// One thread at a time.
#pragma once

#include <optional>
#include <string>

#include "runtime/state/checkpoint_file.h"

namespace regroup::state {

class CheckpointDir {
 public:
  // Makes the folder where there is none. `rank`: who writes here. kConfig: cannot be written.
  static Result<CheckpointDir> open(std::string folder, std::string job, StripeTable table, std::vector<std::string> blobs, int rank);

  struct Newest {
    std::string name;
    CheckpointHead head;
  };
  // What `latest` names; nullopt: there is none. kConfig: damaged, or of another job: says what differs.
  [[nodiscard]] Result<std::optional<Newest>> newest() const;
  [[nodiscard]] Status load(const Newest& what, std::span<const StateBuffer> state) const;
  // kSystem: not written (why); what was there is untouched.
  [[nodiscard]] Status write(std::uint64_t step, std::vector<SavedBlob> blobs, const StripeSource& source) const;
  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  CheckpointDir() = default;
  [[nodiscard]] std::string at(const std::string& name) const { return folder_ + "/" + name; }
  [[nodiscard]] std::string aside() const;
  [[nodiscard]] Status publish(const std::string& written, std::uint64_t step) const;
  [[nodiscard]] Status compare(const Newest& found) const;
  void forget_before(std::uint64_t step) const;

  std::string folder_, job_;
  StripeTable table_;
  std::vector<std::string> blobs_;
  int rank_ = 0;
};

}  // namespace regroup::state

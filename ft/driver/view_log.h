// ViewLog: the durable list of decisions of one group, a locked file with fsync. Upholds G6: an epoch is (log id,
// number).
//
// Ownership: holds the file open and locked (flock) for its life; a second opener is refused. Threading: one thread.
// Created once, explicitly, with a random id; opened afterwards. Header and every record carry checksums. At open, a
// torn last record is cut off (its append never returned, so nobody was told of it); anything else that does not fit is
// refused. After a failed append the log is of no more use and its coordinator must end: what is on disk is unknown.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "ft/core/view.h"

namespace regroup {

class ViewLog {
 public:
  // kRefused: there is a file of that name already.
  static Result<ViewLog> create(const std::string& path, const std::string& group);
  // kRefused: locked by another process, another group, corrupt. kSystem: not there, no permission.
  static Result<ViewLog> open(const std::string& path, const std::string& group);

  // Durable when it returns ok. Decisions come in order, each exactly one epoch after the last.
  [[nodiscard]] Status append(const Decision& decision);

  [[nodiscard]] LogId id() const { return id_; }
  [[nodiscard]] const std::optional<Decision>& last() const { return last_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool cut_torn_record() const { return cut_torn_record_; }

 private:
  ViewLog() = default;
  static Result<ViewLog> lock(const std::string& path);
  [[nodiscard]] Status read_back(const std::string& group);
  Fd file_;
  std::string path_;
  LogId id_ = 0;
  std::optional<Decision> last_;
  std::uint64_t end_ = 0;
  bool failed_ = false;
  bool cut_torn_record_ = false;
};

}  // namespace regroup

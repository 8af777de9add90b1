#include "runtime/state/checkpoint_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

namespace regroup::state {
namespace {

constexpr std::string_view kPrefix = "step-", kSuffix = ".ckpt", kAside = ".part-";

std::string name_of(std::uint64_t step) {
  char text[40];
  std::snprintf(text, sizeof text, "step-%020llu.ckpt", static_cast<unsigned long long>(step));
  return text;
}
std::optional<std::uint64_t> step_of(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) || name.size() != name_of(0).size()) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  std::uint64_t step = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return step;
}
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), &::closedir);
  while (dir)
    if (const dirent* e = ::readdir(dir.get())) names.emplace_back(e->d_name);
    else break;
  return names;
}
Error system_error(const std::string& what) { return {Code::kSystem, what + ": " + std::strerror(errno)}; }

}  // namespace

Result<CheckpointDir> CheckpointDir::open(std::string folder, std::string job, StripeTable table, std::vector<std::string> blobs, int rank) {
  CheckpointDir dir;
  dir.folder_ = std::move(folder), dir.job_ = std::move(job), dir.table_ = std::move(table);
  dir.blobs_ = std::move(blobs), dir.rank_ = rank;
  (void)::mkdir(dir.folder_.c_str(), 0777);
  const Fd lock(::open(dir.at("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!lock) return Error{Code::kConfig, "checkpoint_dir " + dir.folder_ + " cannot be written: " + std::strerror(errno)};
  const std::string mine = std::string(kAside) + std::to_string(rank) + "-";
  for (const std::string& name : names_in(dir.folder_))  // of an earlier life: whoever still writes there writes into nothing
    if (name.starts_with(mine)) (void)::unlink(dir.at(name).c_str());
  return dir;
}

std::string CheckpointDir::aside() const { return at(std::string(kAside) + std::to_string(rank_) + "-" + std::to_string(::getpid())); }

Result<std::optional<CheckpointDir::Newest>> CheckpointDir::newest() const {
  const Fd pointer(::open(at("latest").c_str(), O_RDONLY | O_CLOEXEC));
  if (!pointer && errno == ENOENT) return std::optional<Newest>{};
  char text[256];
  const ssize_t n = pointer ? ::read(pointer.get(), text, sizeof text) : -1;
  if (n < 0) return system_error("checkpoint_dir " + folder_ + ": latest");
  Newest found;
  found.name.assign(text, static_cast<std::size_t>(n));
  while (!found.name.empty() && found.name.back() == '\n') found.name.pop_back();
  const auto refuse = [&](const std::string& why) { return Error{Code::kConfig, "checkpoint_dir " + folder_ + ": " + why}; };
  const auto step = step_of(found.name);
  if (!step) return refuse("latest names no checkpoint");
  const Fd file(::open(at(found.name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return refuse(found.name + ", which latest names: " + std::strerror(errno));
  Result<CheckpointHead> head = read_head(file.get(), found.name);
  if (!head) return refuse(head.error().detail);
  found.head = std::move(*head);
  if (found.head.step != *step) return refuse(found.name + " is of step " + std::to_string(found.head.step));
  if (Status s = compare(found); !s) return refuse(s.error().detail);
  return std::optional<Newest>(std::move(found));
}

Status CheckpointDir::compare(const Newest& found) const {
  if (found.head.job != job_) return {Code::kConfig, "it is of group '" + found.head.job + "', not of '" + job_ + "'"};
  if (Status s = table_.compare(found.head.table); !s) return {Code::kConfig, s.error().detail + " (there: in " + found.name + ")"};
  std::vector<std::string> names;
  for (const SavedBlob& b : found.head.blobs) names.push_back(b.name);
  if (names == blobs_) return {};
  for (const std::string& name : blobs_)
    if (std::find(names.begin(), names.end(), name) == names.end()) return {Code::kConfig, "blob '" + name + "' is not in " + found.name};
  for (const std::string& name : names)
    if (std::find(blobs_.begin(), blobs_.end(), name) == blobs_.end())
      return {Code::kConfig, "blob '" + name + "' is only in " + found.name};
  return {Code::kConfig, "the order of the blobs differs in " + found.name};
}

Status CheckpointDir::load(const Newest& what, std::span<const StateBuffer> state) const {
  const Fd file(::open(at(what.name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return system_error("checkpoint " + at(what.name));
  return load_checkpoint(file.get(), at(what.name), what.head, state);
}

Status CheckpointDir::write(std::uint64_t step, std::vector<SavedBlob> blobs, const StripeSource& source) const {
  const std::string part = aside();
  Status status;
  {
    const Fd file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file) return system_error("checkpoint_dir " + folder_);
    status = write_checkpoint(file.get(), {job_, table_, step, std::move(blobs)}, source);
  }
  if (status.ok()) status = publish(part, step);
  if (status.ok()) return {};
  (void)::unlink(part.c_str());
  return {status.code(), "checkpoint_dir " + folder_ + ": checkpoint of step " + std::to_string(step) + ": " + status.error().detail};
}

Status CheckpointDir::publish(const std::string& written, std::uint64_t step) const {
  const Fd lock(::open(at("lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) return system_error("lock");
  Result<std::optional<Newest>> before = newest();
  if (!before) return before.error();  // of another job: stays untouched
  const std::string name = name_of(step);
  if (::rename(written.c_str(), at(name).c_str()) != 0) return system_error("rename");
  if (*before && (*before)->head.step > step) return {};  // somebody was quicker with a newer one
  const std::string pointer = aside() + "-latest";
  {
    const Fd file(::open(pointer.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    const std::string line = name + "\n";
    if (!file || ::write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) || ::fsync(file.get()) != 0) {
      const Error why = system_error("latest");
      (void)::unlink(pointer.c_str());
      return why;
    }
  }
  if (::rename(pointer.c_str(), at("latest").c_str()) != 0) return system_error("latest");
  if (const Fd folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); folder) (void)::fsync(folder.get());
  if (*before && (*before)->head.step < step) forget_before((*before)->head.step);
  return {};
}

void CheckpointDir::forget_before(std::uint64_t step) const {
  for (const std::string& name : names_in(folder_))
    if (const auto old = step_of(name); old && *old < step) (void)::unlink(at(name).c_str());
}

}  // namespace regroup::state

#include "tools/chaos/arguments.h"

namespace regroup::chaos {
namespace {

// Words of `list` as values of an enumeration with name_of and kCount; none twice.
template <typename E>
Result<std::vector<E>> parse(std::string_view list, const char* what) {
  std::vector<E> out;
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(','), list.size());
    const std::string_view word = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    int found = -1;
    std::string known;
    for (int i = 0; i < static_cast<int>(E::kCount); ++i) {
      if (word == name_of(static_cast<E>(i))) found = i;
      known += std::string(i == 0 ? "" : ", ") + name_of(static_cast<E>(i));
    }
    if (found < 0) return Error{Code::kConfig, std::string(what) + " '" + std::string(word) + "' is none of: " + known};
    out.push_back(static_cast<E>(found));
  }
  return out;
}

}  // namespace

const char* name_of(FaultKind kind) {
  constexpr const char* names[] = {"kill", "view_change_kill", "stop", "partition", "coordinator", "duplicate", "join"};
  return names[static_cast<int>(kind)];
}

const char* name_of(Arena arena) {
  constexpr const char* names[] = {"shm", "tcp", "net", "nccl", "ucx"};
  return names[static_cast<int>(arena)];
}

Result<std::vector<FaultKind>> parse_faults(std::string_view list) { return parse<FaultKind>(list, "fault"); }
Result<std::vector<Arena>> parse_arenas(std::string_view list) { return parse<Arena>(list, "arena"); }

}  // namespace regroup::chaos

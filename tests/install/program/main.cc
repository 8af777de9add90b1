// An outside program: public headers and libregroup only. Joins a group that cannot be, and expects to be told why.
#include <regroup/group.h>

#include <cstdio>
#include <cstring>
#include <utility>

namespace {

int failures = 0;

void expect(bool ok, const char* what, const char* detail) {
  std::printf("%s: %s (%s)\n", ok ? "ok" : "FAILED", what, detail);
  if (!ok) ++failures;
}

#ifdef OUTSIDE_JOIN
void join_without_rank() {
  regroup::Options options;
  options.world_size = 2;
  const auto group = regroup::Group::join(std::move(options));
  expect(group.code() == regroup::Code::kConfig, "no rank is a configuration error", group.error().detail.c_str());
}

void join_without_coordinator() {
  regroup::Options options;
  options.coordinator = "127.0.0.1:1";  // nobody listens there
  options.rank = 1;
  options.world_size = 2;
  options.join_timeout_s = 1;
  options.unavailable_timeout_s = 1;
  const auto group = regroup::Group::join(std::move(options));
  const bool told = group.code() == regroup::Code::kUnavailable || group.code() == regroup::Code::kTimeout;
  expect(told && !group.error().detail.empty(), "no coordinator ends the join in time", group.error().detail.c_str());
}
#endif

}  // namespace

int main() {
  const char* name = regroup::code_name(regroup::Code::kMismatch);
  expect(std::strcmp(name, "kMismatch") == 0, "a function of the library can be called", name);
#ifdef OUTSIDE_JOIN
  join_without_rank();
  join_without_coordinator();
#endif
  return failures == 0 ? 0 : 1;
}

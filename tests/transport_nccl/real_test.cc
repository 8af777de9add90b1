// The real library, where one is installed (REGROUP_NCCL_REAL_LIBRARY at configure time): it is taken, with its
// version, and on a machine without a GPU making a communicator ends with an error, in time.
#include <catch2/catch.hpp>
#include <thread>

#include "base/clock.h"
#include "transport/nccl/communicator.h"

using namespace regroup;
using namespace regroup::nccl;

TEST_CASE("the real library is found new enough and whole, and is no stand-in") {
  const Result<LibraryPtr> library = load(REGROUP_NCCL_REAL_LIBRARY);
  INFO((library.ok() ? std::string() : library.error().detail));
  REQUIRE(library.ok());
  WARN((*library)->name + ((*library)->call.CommRevoke != nullptr ? ", can revoke" : ", cannot revoke"));
  CHECK((*library)->version >= kOldestVersion);
  CHECK_FALSE((*library)->takes_host);
}

TEST_CASE("without a GPU the real library makes no communicator and says so in time") {
  const Result<LibraryPtr> library = load(REGROUP_NCCL_REAL_LIBRARY);
  REQUIRE(library.ok());
  const Duration limit = Duration::from_s(20);
  Caller caller;
  auto id = std::make_shared<MadeId>();
  const Caller::Call asked = make_id(caller, *library, id);
  REQUIRE(caller.wait(asked, now() + limit));
  WARN("ncclGetUniqueId: " + answer_text(id->answer));
  if (id->answer != kSuccess) return;  // the error that was to be seen
  auto comm = Communicator::init(*library, id->id, 0, 1, limit);
  while (comm->state() == Communicator::State::kMaking) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (comm->state() == Communicator::State::kUp) WARN("there is a GPU");
  WARN("ncclCommInitRankConfig: " + comm->trouble());
  comm->abort();
  CHECK(comm->wait_ended(now() + limit));
}

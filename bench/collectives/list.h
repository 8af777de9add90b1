// The collectives that have a program, one a file. Constants.
#pragma once

#include "bench/collective.h"

namespace regroup::bench {

extern const Collective kAllReduce;
extern const Collective kAllGather;
extern const Collective kBroadcast;
extern const Collective kReduceScatter;
extern const Collective kReduce;
extern const Collective kAllToAll;
extern const Collective kGather;
extern const Collective kScatter;
extern const Collective kSendRecv;

}  // namespace regroup::bench

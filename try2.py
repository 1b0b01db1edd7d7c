import sys,time
sys.path.insert(0,'operator')
from pathlib import Path
from modelfleet.sim import traces
T=Path('/work/shared/traces')
t=time.time()
a=list(traces.azure(T/'azure_llm_2023_conv.csv.gz')); print(len(a),a[-1].at_s,time.time()-t)
m=list(traces.mooncake(T/'mooncake_fast25_conversation.jsonl.gz',cached_blocks=10**9)); print(len(m),sum(x.cached for x in m)/sum(x.prompt for x in m))
t=time.time(); n=0;pk=[0]*144
for x in traces.servegen(T,'m-large',mean_rps=60,day=3): n+=1; pk[int(x.at_s//600)]+=1
print(n,n/86400,max(pk)/600,min(pk)/600,time.time()-t)

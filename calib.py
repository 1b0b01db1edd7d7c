import json, heapq, random, statistics as st, sys, time
sys.path.insert(0,'operator')
from modelfleet.plan.engine import Engine
from modelfleet.sim.replica import Replica, Job
E=Engine('8b-h100',.0061693,1.059e-5,4.175e-8,2.2771e-5,.0125,.002,256,8192,474304)
d=json.load(open('/work/shared/fixtures/vllm-h100/calibration.json'))['models']['llama-8b']
def q(x,p): x=sorted(x); return x[min(len(x)-1,int(p*len(x)))]
def run_open(arr,prompt=512,out=128):
    res=[]
    done=[]
    r=Replica(E,on_first=lambda j,t:None,on_done=lambda j,t:done.append((j.arrived_s,j.first_s-j.arrived_s,t-j.arrived_s)))
    i=0
    while i<len(arr) or r.due_s<1e9:
        if i<len(arr) and arr[i]<=r.due_s:
            r.add(Job(prompt=prompt,cached=0,output=out),arr[i]); i+=1
        else: r.step()
    return sorted(done)
for o in d['open_loop_poisson']:
    arr=[x[0] for x in o['requests']]
    t=time.time(); got=run_open(sorted(arr)); el=time.time()-t
    got=[g for g in got if g[0]>5]; real=[x for x in o['requests'] if x[0]>5]
    tp=lambda xs:[(x[2]-x[1])/127 for x in xs]
    print(o['target_rate_req_per_s'], 'ttft sim/real p50 %.3f/%.3f p95 %.3f/%.3f p99 %.3f/%.3f'%(q([g[1] for g in got],.5),q([g[1] for g in real],.5),q([g[1] for g in got],.95),q([g[1] for g in real],.95),q([g[1] for g in got],.99),q([g[1] for g in real],.99)),'tpot p50 %.4f/%.4f p95 %.4f/%.4f'%(q(tp(got),.5),q(tp(real),.5),q(tp(got),.95),q(tp(real),.95)), 'us/req',el/len(arr)*1e6)
def run_closed(c,T=30,prompt=512,out=128,cached=0):
    done=[]; 
    def fin(j,t):
        done.append((j.arrived_s,j.first_s-j.arrived_s,t-j.arrived_s,t)); heapq.heappush(nxt,t+.0005)
    nxt=[]
    r=Replica(E,on_first=lambda j,t:None,on_done=fin)
    for i in range(c): heapq.heappush(nxt,random.Random(i).random()*(0.8+c*.01))
    while True:
        t=min(nxt[0] if nxt else 1e18, r.due_s)
        if t>T: break
        if nxt and nxt[0]<=r.due_s: r.add(Job(prompt=prompt,cached=cached,output=out),heapq.heappop(nxt))
        else: r.step()
    return [x for x in done if x[3]>T/3]
for key,cached in (('closed_loop_512_128',0),('closed_loop_512_128_shared_prefix_400',400)):
  for o in d[key]:
    g=run_closed(o['concurrency'],cached=cached)
    tp=[(x[2]-x[1])/127 for x in g]
    print(o['concurrency'],'tok/s %.0f/%.0f ttft50 %.3f/%.3f 95 %.3f/%.3f tpot50 %.4f/%.4f 95 %.4f/%.4f'%(len(g)*128/20,o['output_tokens_per_s_server'],q([x[1] for x in g],.5),o['ttft_p50_s'],q([x[1] for x in g],.95),o['ttft_p95_s'],q(tp,.5),o['tpot_p50_s'],q(tp,.95),o['tpot_p95_s']))

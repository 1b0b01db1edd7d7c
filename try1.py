import sys,time,random
sys.path.insert(0,'operator')
from modelfleet.plan.engine import Engine
from modelfleet.sim.fleet import *
from modelfleet.sim.world import World
from modelfleet.sim.policy import Orders
E=Engine('8b-h100',.0061693,1.059e-5,4.175e-8,2.2771e-5,.0125,.002,256,8192,474304)
B=Engine('70b-tp4',.0165,5e-5,4.8e-8,5.8e-5,.02,.002,256,8192,487000)
class Static:
    name='static'; look_s=15.0
    def decide(self,seen): return Orders({})
def arr(rate,T,seed=1):
    r=random.Random(seed); t=0
    while t<T:
        t+=r.expovariate(rate); yield Arrival(t,512,128)
t0=time.time()
w=World(Cascade((Tier('small',E,replicas_start=3),Tier('big',B,gpus=4,replicas_start=2)),questions=()),arr(100,600),Static(),entry=(.75,.25))
ta=w.run(600); el=time.time()-t0
print(ta.arrivals, el, 'per min', ta.arrivals/el*60, ta.attainment, ta.gpu_h, ta.ttft.quantile_s(.95), ta.itl.quantile_s(.95), ta.answers)
qs=[Question((random.random(),1.),(True,True)) for _ in range(1000)]
t0=time.time()
import cProfile
w=World(Cascade((Tier('small',E,replicas_start=3),Tier('big',B,gpus=4,replicas_start=2)),questions=qs,thresholds=(.25,None)),(Arrival(a.at_s,a.prompt,a.output,0,i) for i,a in enumerate(arr(100,600))),Static())
if len(sys.argv)>1: cProfile.run('w.run(600)',sort='tottime')
else:
    ta=w.run(600); el=time.time()-t0
    print(ta.arrivals, el, 'per min', ta.arrivals/el*60, ta.attainment, ta.gpu_h, ta.ttft.quantile_s(.95), ta.itl.quantile_s(.95), ta.answers, ta.escalated)

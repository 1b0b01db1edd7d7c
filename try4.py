exec(open('try3.py').read().split('for p,n in')[0])
B=Engine('70b-tp4',.0158,4.4e-6+1e-5,4.8e-8,5.8e-5,.02,.002,256,8192,487000)
from modelfleet.plan.sizing import *
print(capacity(E,Lengths(900,155),Objectives(1,.05)),capacity(B,Lengths(900,155),Objectives(1,.05)))
F=.35
for p,n,m in ((Static(),5,5),(KubeAi(60),4,4),(Hpa(60),4,4),(Lead(.98),4,4),(Joint(),4,4),(Joint(margin=1.2),4,4),(Joint(peak=.9),4,4),):
    t=time.time()
    w=World(Cascade((Tier('small',E,replicas_start=n,replicas_max=12),Tier('big',B,gpus=4,replicas_start=m,replicas_max=12,cold=ColdStart(0,20,220))),share_floor=F),A,p,entry=(1-F,F))
    r=w.run(H*3600)
    print(p.name, 'att %.2f gpuh %.1f flips %.0f share %.3f worst %.3f ttft95 %.3f 99 %.3f itl95 %.4f poor %d h %s %.0fs'%(100*r.attainment,r.gpu_h,r.flips_per_day,r.share_last,r.share_last_worst_hour(),r.ttft.quantile_s(.95),r.ttft.quantile_s(.99),r.itl.quantile_s(.95),r.poor_minutes,{k:round(v,1) for k,v in r.replica_h.items()},time.time()-t), flush=True)
